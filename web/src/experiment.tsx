/** The page of one experiment. */
import { useAnswer } from "./answers";
import { tabs, type Tab } from "./address";
import { Lead, Status } from "./bits";
import { Chart } from "./chart";
import { Charts, Choices } from "./charts";
import { CodeOf } from "./code";
import { Console } from "./console";
import { Events } from "./events";
import { Files } from "./files";
import { age, count, duration, moment } from "./format";
import { Media } from "./media";
import { Overview } from "./overview";
import type { Overview as Described } from "./overviews";
import { all, changes, loading, now, rows, view } from "./state";
import { short } from "./source";

function Inside({ of, tab }: { of: Described; tab: Tab }) {
  const id = short(of.id);
  const names = Object.keys(of.metrics).sort((one, two) => one.localeCompare(two, "en", { numeric: true }));
  if (tab === "charts") return <><Choices ids={[id]} names={names} /><Charts ids={[id]} names={names} /></>;
  if (tab === "media") return <Media id={of.id} entries={of.media} />;
  if (tab === "console") return <Console id={of.id} />;
  if (tab === "events") return <Events id={of.id} />;
  if (tab === "files") return <Files of={of} />;
  if (tab === "code") return <CodeOf />;
  if (tab === "system") return of.system.length ? <div class="charts">{of.system.map((name) => <Chart key={name} metric={`system:${name}`} ids={[id]} axis="time" />)}</div> : <p class="empty">The machine was not watched: <code>mlv.Exp(..., system=10)</code> does it.</p>;
  return <Overview of={of} />;
}

export function Experiment() {
  const { exp, tab, asof } = view.value;
  const row = rows.value.get(short(exp)) ?? all.value.find((one) => one.id.startsWith(exp));
  const id = row?.id ?? "";
  const { value: of, problem } = useAnswer<Described>(id && `exp/${id}`, { asof }, `${changes.value.get(id)} ${row?.status}`);
  if (!row) return <main><h1 class="hidden">Experiment</h1><p class="empty" role="status">{loading.value ? "Reading." : `No experiment has an identifier that begins with ${exp}.`}</p></main>;
  const counts: Partial<Record<Tab, number>> = of ? { charts: Object.keys(of.metrics).length, media: of.media.length, files: of.files.length + of.checkpoints.length, system: of.system.length } : {};
  const seconds = now.value - row.age;
  return (
    <main class="one">
      <header class="lead">
        <h1>{row.name} <Status status={row.status}>{row.status === "running" && <small>{age(seconds)}</small>}</Status>{row.tags.map((tag) => <small class="tag" key={tag}>{tag}</small>)}</h1>
        <p class="counts">
          {of?.parent && <><Lead to={{ exp: short(of.parent.id) }}>{of.parent.name ?? of.parent.id.slice(0, 8)}</Lead> › </>}
          {row.path} · begun {moment(row.created)}{Number.isFinite(row.duration) ? ` · ${duration(row.duration)}` : ""}{of && of.runs.length > 1 ? ` · ${count(of.runs.length, "run")}` : ""} · <code title={of?.id ?? row.id}>{row.id}</code>
        </p>
        <nav class="tabs" aria-label="Experiment">
          {tabs.map((name) => <Lead key={name} to={{ tab: name }} current={name === tab}>{name}{counts[name] ? <small>{counts[name]}</small> : null}</Lead>)}
        </nav>
      </header>
      {(problem || row.error) && <p class="bad" role="alert">{problem || row.error}</p>}
      {of ? <Inside of={of} tab={tab} /> : !problem && <p class="empty">Reading.</p>}
    </main>
  );
}
