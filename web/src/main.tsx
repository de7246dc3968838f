/** The page: its head, the list with its charts, and one experiment. */
import { render } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Charts, Choices } from "./charts";
import { duration, moment, number, plain } from "./format";
import { List } from "./list";
import { connection } from "./live";
import { all, change, folder, link, loading, problem, refusal, rows, view } from "./state";
import { short } from "./source";

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
      <Choices ids={[row.id]} names={names} />
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

// The address of the page changes with its view, which must not change where its style sheet and its icon lie.
for (const element of document.querySelectorAll("link")) element.href = element.href;
render(<Page />, document.getElementById("page")!);
