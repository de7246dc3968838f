/** The list of experiments, and beside it a view of those picked. */
import { panels, type Panel } from "./address";
import { Lead } from "./bits";
import { Charts, Choices } from "./charts";
import { CodeOf } from "./code";
import { ColumnMenu } from "./columnmenu";
import { Compare } from "./compare";
import { ago, clock, countOf, end, groups, moment } from "./format";
import { Gallery } from "./gallery";
import { Matters } from "./matters";
import { Parallel } from "./parallel";
import { Scatter } from "./scatter";
import { Sql } from "./sql";
import { divide, split } from "./own";
import { brushed, title } from "./rows";
import { isFresh } from "./source";
import { all, change, drawnIds, hasLake, isTooFar, lake, link, metrics, mostDrawn, now, refusal, shown, view } from "./state";
import { Table } from "./table";

function Curves() {
  const { ids, left } = drawnIds.value;
  return (
    <>
      <Choices ids={ids} names={metrics.value} />
      {isTooFar.value && <p class="counts">Pick experiments, or narrow the list to {mostDrawn}: the logs of those that are drawn are fetched from the bucket.</p>}
      {left > 0 && <p class="counts">Drawn are the picked and the first {mostDrawn}; {groups(left)} more are in the list.</p>}
      {(ids.length > 0 || !isTooFar.value) && <Charts ids={ids} names={metrics.value} />}
    </>
  );
}

const parts: Record<Panel, () => preact.JSX.Element> = {
  charts: Curves, compare: Compare, scatter: Scatter, parallel: Parallel, params: Matters, media: Gallery, sql: Sql, code: CodeOf,
};

/** The edge between the list and the view beside it, which can be moved. */
function Divider() {
  const share = (event: PointerEvent): number => event.clientX / document.documentElement.clientWidth;
  return (
    <div class="divider" role="separator" tabIndex={0} aria-orientation="vertical" aria-label="Width of the list" aria-valuemin={15} aria-valuemax={85} aria-valuenow={Math.round(split.value * 100)}
      onPointerDown={(event) => {
        event.preventDefault();
        event.currentTarget.setPointerCapture(event.pointerId);
      }}
      onPointerMove={(event) => event.currentTarget.hasPointerCapture(event.pointerId) && divide(share(event), false)}
      onPointerUp={(event) => event.currentTarget.hasPointerCapture(event.pointerId) && divide(share(event), true)}
      onKeyDown={(event) => {
        const by = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
        if (!by) return;
        event.preventDefault();
        divide(split.value + by, true);
      }} />
  );
}

/** Ranges on the axes of parallel coordinates, wherever one looks: they leave out rows. */
function Ranges() {
  const { brush } = view.value;
  if (!brush.length) return null;
  return (
    <p class="ranges">
      {brush.map(({ column, from, to }) => (
        <button type="button" class="chip" key={column} aria-label={`leave out the range of ${title(column)}`} onClick={() => change({ brush: brushed(brush, column, null) })}>{title(column)} {end(from)} … {end(to)} ×</button>
      ))}
    </p>
  );
}

/** How old a list is that comes from a lake, and the way to the logs; or the way back from these. */
function Age() {
  const of = lake.value;
  if (isFresh && hasLake.value) return <span class="age">, from the logs <a href={link({ fresh: false })}>back to the lake</a></span>;
  if (!of) return null;
  return (
    <span class={`age${of.problem ? " bad" : ""}`} title={of.problem ?? `from the lake ${of.url}, of ${moment(of.as_of)}`}>
      , as of <time dateTime={new Date(of.as_of * 1000).toISOString()}>{clock(of.as_of, now.value)}</time>, {ago(now.value - of.as_of)}{of.problem && ": the lake cannot be read any more"} <a href={link({ fresh: true })} title={of.far ? "Every log is fetched from the bucket first" : "Every log is read first"}>read the logs</a>
    </span>
  );
}

export function List() {
  const { pick, panel } = view.value;
  const Part = parts[panel];
  return (
    <main class="list">
      <h1 class="hidden">Experiments</h1>
      <section class="left" aria-label="List" style={{ width: `${split.value * 100}%` }}>
        <div class="bar">
          <p class="counts" role="status">
            {countOf(shown.value.length, all.value.length, "experiment")}
            {pick.length > 0 && <>, {groups(pick.length)} picked <button type="button" onClick={() => change({ pick: [] })}>let go</button></>}
            <Age />
          </p>
          <ColumnMenu />
        </div>
        {refusal.value && <p class="bad" role="alert">{refusal.value}</p>}
        <Ranges />
        <Table />
      </section>
      <Divider />
      <section class="right" aria-label="View">
        <nav class="tabs" aria-label="Views">{panels.map((name) => <Lead key={name} to={{ panel: name }} current={name === panel}>{name}</Lead>)}</nav>
        <Part />
      </section>
    </main>
  );
}
