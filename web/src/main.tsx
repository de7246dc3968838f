/** The page: its head, the list with its charts, and one experiment. */
import { render } from "preact";
import { tabs } from "./address";
import { useEffect, useRef, useState } from "preact/hooks";
import { Experiment } from "./experiment";
import { exported, isFolder } from "./folder";
import { age, duration, moment } from "./format";
import { List } from "./list";
import { connection } from "./live";
import { change, folder, link, newest, now, problem, refusal, rows, view, waiting } from "./state";
import { short } from "./source";
import { Views } from "./views";

function Head() {
  const { where, q, asof } = view.value;
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
        <Views />
      </>}
      <span class="grow" />
      {exported() && <small title={exported()!.left_out.join(" ")}>written {moment(exported()!.made)}</small>}
      {asof && <small>as of {asof}</small>}
      {!isFolder && <span class={`live ${connection.value}`} role="status" title={newest.value ? `newest line ${moment(newest.value)}, ${age(now.value - newest.value)}` : ""}><i aria-hidden="true" />{connection.value}</span>}
    </header>
  );
}

const keys: [string, string][] = [
  ["/", "search"], ["f", "filter by SQL"], ["j k, arrows", "next and previous row"], ["x, space", "pick the row or let it go"], ["v, Alt and a click on the dot", "the next colour"], ["*", "star"], ["h", "hide the row"], ["Enter", "open the experiment"],
  ["→ ←", "show and hide sub-experiments"], ["c", "charts"], ["e", "code for what is shown"], ["s", "smoothing"], ["[ ]", "step of the media before and after"], ["1 to 8", "parts of an experiment's page"], ["in a chart: ← → + − Enter", "move the crosshair, zoom in and out, open the line of the point"], ["o", "zoom out"], ["on the edge of the list: ← →", "its width"], ["Ctrl-Enter", "run the SQL that is being written"], ["Esc", "back to the list"], ["?", "this list"],
];

function Page() {
  const help = useRef<HTMLDialogElement>(null);
  const { exp } = view.value;
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const field = event.target as HTMLElement;
      const menu = document.querySelector<HTMLDetailsElement>("details.menu[open]");
      if (event.key === "Escape" && menu) {
        menu.open = false;
        menu.querySelector<HTMLElement>("summary")?.focus();
        return;
      }
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
      else if (event.key === "c") change(view.peek().exp ? { tab: "charts" } : { panel: "charts" });
      else if (event.key === "e") change(view.peek().exp ? { tab: "code" } : { panel: "code" });
      else if (event.key === "[") document.getElementById("before")?.click();
      else if (event.key === "]") document.getElementById("after")?.click();
      else if (view.peek().exp && /^[1-8]$/.test(event.key)) change({ tab: tabs[Number(event.key) - 1]! });
      else if (event.key === "Escape" && view.peek().exp && !help.current?.open) change({ exp: "", tab: "overview" });
      else if ((event.key === "j" || event.key === "k") && !field.closest(".table")) focus(".table");
      else return;
      event.preventDefault();
    };
    const onPointerDown = (event: Event): void => {
      for (const menu of document.querySelectorAll<HTMLDetailsElement>("details.menu[open]")) if (!menu.contains(event.target as Node)) menu.open = false;
    };
    addEventListener("keydown", onKeyDown);
    addEventListener("pointerdown", onPointerDown);
    return () => {
      removeEventListener("keydown", onKeyDown);
      removeEventListener("pointerdown", onPointerDown);
    };
  }, []);
  const title = exp ? (rows.value.get(short(exp))?.name ?? exp.slice(0, 8)) : (folder.value.split("/").pop() ?? "");
  useEffect(() => {
    document.title = title ? `${title} · mlv` : "mlv";
  }, [title]);
  return (
    <>
      <Head />
      {waiting.value && <p class="counts" role="status">{waiting.value.folder} has not answered for {duration(waiting.value.seconds)}; the others are shown meanwhile.</p>}
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
