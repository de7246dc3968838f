/** The page: its head, the list with its charts, and one experiment. */
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Chart } from "./chart";
import { count, duration, moment, number, plain } from "./format";
import { named } from "./rows";
import { all, change, connection, folder, link, loading, metrics, problem, refusal, rows, shown, view } from "./state";
import { short } from "./source";
import { Table } from "./table";

function Head() {
  const { where, q, archived, asof } = view.value;
  const [draft, setDraft] = useState(where);
  useEffect(() => setDraft(where), [where]);
  return (
    <header class="top">
      <a class="brand" href={link({ exp: "" })} onClick={(event) => {
        event.preventDefault();
        change({ exp: "", tab: "overview" });
      }}><b>mlv</b> <span title={folder.value}>{folder.value.split("/").filter(Boolean).pop() ?? ""}</span></a>
      {!view.value.exp && <>
        <input id="search" type="search" aria-label="Search" placeholder="search" value={q} onInput={(event) => change({ q: event.currentTarget.value }, q !== "")} />
        <form role="search" aria-label="Filter" onSubmit={(event) => {
          event.preventDefault();
          change({ where: draft.trim() });
        }}>
          <input id="filter" aria-label="Filter by SQL" aria-invalid={refusal.value !== ""} spellcheck={false} placeholder="filter: params.lr < 0.1" value={draft} onInput={(event) => setDraft(event.currentTarget.value)} />
        </form>
        <label class="check"><input type="checkbox" checked={archived} onChange={() => change({ archived: !archived })} /> archived</label>
      </>}
      <span class="grow" />
      {asof && <small>as of {asof}</small>}
      <span class={`live ${connection.value}`} role="status"><i aria-hidden="true" />{connection.value}</span>
    </header>
  );
}

function Choices() {
  const { m, x, y, smooth, zoom, robust, crowd } = view.value;
  return (
    <div class="choices" role="toolbar" aria-label="Charts">
      <input aria-label="Metrics" placeholder="metrics: train/*, val/acc" value={m.join(", ")} onChange={(event) => change({ m: event.currentTarget.value.split(",").map((item) => item.trim()).filter(Boolean) })} />
      <label>x <select value={x} onChange={(event) => change({ x: event.currentTarget.value, zoom: null })}>
        {[...new Set(["step", "elapsed", "time", x])].map((name) => <option key={name}>{name}</option>)}
      </select></label>
      <label class="check"><input type="checkbox" checked={y === "log"} onChange={() => change({ y: y === "log" ? "linear" : "log" })} /> log</label>
      <label class="check" title="Leave the outermost 2 % of columns beyond the axis, counted"><input type="checkbox" checked={robust} onChange={() => change({ robust: !robust })} /> robust</label>
      {!view.value.exp && <label class="check"><input type="checkbox" checked={crowd} onChange={() => change({ crowd: !crowd })} /> others</label>}
      <label>smooth <input id="smooth" type="range" min="0" max="0.99" step="0.01" value={smooth} aria-valuetext={String(smooth)} onChange={(event) => change({ smooth: Number(event.currentTarget.value) })} /><output>{smooth || "off"}</output></label>
      {zoom && <button type="button" onClick={() => change({ zoom: null })}>zoom out</button>}
    </div>
  );
}

// More would make one answer of the server too long to wait for; the chart's footer counts what it shows.
const most = 100;

function Charts({ ids, names }: { ids: readonly string[]; names: readonly string[] }) {
  const matching = names.filter((name) => named(name, view.value.m));
  const has = (name: string): string[] => ids.filter((id) => rows.value.get(id)?.metrics[name]);
  if (!matching.length) return <p class="empty">{loading.value ? "Reading." : "No metric to draw."}</p>;
  return <div class="charts">{matching.map((name) => <Chart key={name} metric={name} ids={has(name)} />)}</div>;
}

function List() {
  const picked = view.value.pick.map((pick) => pick.id);
  const others = view.value.crowd || !picked.length ? shown.value.map((row) => row.id).filter((id) => !picked.includes(id)) : [];
  const ids = [...picked, ...others.slice(0, Math.max(most - picked.length, 0))];
  const left = picked.length + others.length - ids.length;
  return (
    <main class="list">
      <h1 class="hidden">Experiments</h1>
      <section class="left" aria-label="List">
        <p class="counts" role="status">
          {shown.value.length === all.value.length ? count(all.value.length, "experiment") : `${shown.value.length} of ${count(all.value.length, "experiment")}`}
          {picked.length > 0 && <>, {picked.length} picked <button type="button" onClick={() => change({ pick: [] })}>let go</button></>}
        </p>
        {refusal.value && <p class="bad" role="alert">{refusal.value}</p>}
        <Table />
      </section>
      <section class="right" aria-label="Charts">
        <Choices />
        {left > 0 && <p class="counts">Drawn are the picked and the first {most}; {left} more are in the list.</p>}
        <Charts ids={ids} names={metrics.value} />
      </section>
    </main>
  );
}

function Facts({ label, entries }: { label: string; entries: readonly [string, string][] }) {
  if (!entries.length) return null;
  return <section class="facts"><h2>{label}</h2><dl>{entries.map(([name, text]) => <div key={name}><dt>{name}</dt><dd>{text}</dd></div>)}</dl></section>;
}

function Experiment() {
  const id = view.value.exp;
  const row = rows.value.get(short(id)) ?? all.value.find((row) => row.id.startsWith(id));
  if (!row) return <main><p class="empty" role="status">{loading.value ? "Reading." : `No experiment has an identifier that begins with ${id}.`}</p></main>;
  const family = all.value.filter((other) => other.parent === row.id);
  const lead = (other: { id: string; name: string }) => <a key={other.id} href={link({ exp: other.id })} onClick={(event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    change({ exp: other.id });
  }}>{other.name || other.id.slice(0, 8)}</a>;
  const parent = row.parent ? rows.value.get(row.parent) : undefined;
  const names = Object.keys(row.metrics).sort((one, two) => one.localeCompare(two, "en", { numeric: true }));
  return (
    <main class="one">
      <h1>{row.name} <span class={`status ${row.status}`}>{row.status}</span> {row.tags.map((tag) => <small class="tag" key={tag}>{tag}</small>)}</h1>
      <p class="counts">{row.path} · begun {moment(row.created)}{Number.isFinite(row.duration) ? ` · ${duration(row.duration)}` : ""} · <code>{row.id}</code></p>
      {parent && <p>From {lead(parent)}.</p>}
      {family.length > 0 && <p>Sub-experiments: {family.map((other, at) => <>{at > 0 && ", "}{lead(other)}</>)}.</p>}
      <div class="columns">
        <Facts label="Params" entries={Object.entries(row.params).map(([name, value]) => [name, plain(value)])} />
        <Facts label="Last values" entries={names.map((name) => [name, number(row.metrics[name]!.last ?? NaN)])} />
      </div>
      <Choices />
      <Charts ids={[row.id]} names={names} />
    </main>
  );
}

const keys: [string, string][] = [
  ["/", "search"], ["f", "filter by SQL"], ["j k, arrows", "next and previous row"], ["x, space", "pick the row or let it go"], ["Enter", "open the experiment"],
  ["→ ←", "show and hide sub-experiments"], ["s", "smoothing"], ["o", "zoom out"], ["Esc", "back to the list"], ["?", "this list"],
];

function Page() {
  const help = useRef<HTMLDialogElement>(null);
  const { exp } = view.value;
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const field = event.target as HTMLElement;
      if (field.matches("input,select,textarea")) {
        if (event.key === "Escape") document.querySelector<HTMLElement>(".table")?.focus();
        return;
      }
      const focus = (what: string): void => document.querySelector<HTMLElement>(what)?.focus();
      if (event.key === "?") help.current?.showModal();
      else if (event.key === "/") focus("#search");
      else if (event.key === "f") focus("#filter");
      else if (event.key === "s") focus("#smooth");
      else if (event.key === "o") change({ zoom: null });
      else if (event.key === "Escape" && view.peek().exp && !help.current?.open) change({ exp: "", tab: "overview" });
      else if ((event.key === "j" || event.key === "k") && !field.closest(".table")) focus(".table");
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", onKeyDown);
    return () => removeEventListener("keydown", onKeyDown);
  }, []);
  const title = exp ? (rows.value.get(exp)?.name ?? exp.slice(0, 8)) : (folder.value.split("/").pop() ?? "");
  useEffect(() => {
    document.title = title ? `${title} · mlv` : "mlv";
  }, [title]);
  return (
    <>
      <Head />
      {problem.value && <p class="bad" role="alert">{problem.value}</p>}
      {exp ? <Experiment /> : <List />}
      <dialog ref={help} aria-labelledby="keys">
        <h2 id="keys">Keys</h2>
        <dl>{keys.map(([key, text]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{text}</dd></div>)}</dl>
        <form method="dialog"><button>Close</button></form>
      </dialog>
    </>
  );
}

render(<Page />, document.getElementById("page")!);
