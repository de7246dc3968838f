/** Media of several experiments side by side, at one step. */
import { useEffect, useState } from "preact/hooks";
import { looked } from "./compare";
import { Medium, Steps, type Entry, type Lists } from "./media";
import type { Item } from "./pictures";
import { named } from "./rows";
import { json } from "./source";
import { rows, view } from "./state";

export function Gallery() {
  const ids = looked(8);
  const { asof, media, step } = view.value;
  const [entries, setEntries] = useState<Record<string, readonly Entry[]>>({});
  const [lists, setLists] = useState<Lists>({});
  useEffect(() => {
    const asking = new AbortController();
    for (const id of ids) {
      if (entries[id]) continue;
      json<{ media: Entry[] }>(`exp/${id}`, { asof }, asking.signal).then((answer) => setEntries((before) => ({ ...before, [id]: answer.media })), () => undefined);
    }
    return () => asking.abort();
  }, [ids.join(), asof]);
  const all = new Map<string, Entry>();
  for (const id of ids) for (const entry of entries[id] ?? []) all.set(`${entry.type} ${entry.name}`, entry);
  const matching = [...all].filter(([, entry]) => named(entry.name, media));
  const onLoaded = (key: string, items: readonly Item[]): void => setLists((before) => ({ ...before, [key]: items }));
  if (!all.size) return <p class="empty">{ids.every((id) => entries[id]) ? "None of these experiments has images, sounds, tables or texts." : "Reading."}</p>;
  return (
    <>
      <Steps lists={lists} names={[...new Set([...all.values()].map((entry) => entry.name))]} />
      {matching.map(([key, entry]) => (
        <section key={key} class="strip" aria-label={`${entry.name}, ${entry.type}`}>
          <h2>{entry.name} <small>{entry.type}</small></h2>
          <div class="media">
            {ids.filter((id) => entries[id]?.some((one) => one.name === entry.name && one.type === entry.type)).map((id) => (
              <Medium key={id} id={id} entry={entry} step={step} title={rows.value.get(id)?.name || id.slice(0, 8)} onLoaded={onLoaded} />
            ))}
          </div>
        </section>
      ))}
    </>
  );
}
