/** The list of experiments, and beside it a view of those picked. */
import { panels, type Panel } from "./address";
import { Lead } from "./bits";
import { Charts, Choices } from "./charts";
import { CodeOf } from "./code";
import { ColumnMenu } from "./columnmenu";
import { Compare } from "./compare";
import { count } from "./format";
import { Gallery } from "./gallery";
import { Matters } from "./matters";
import { Parallel } from "./parallel";
import { Scatter } from "./scatter";
import { Sql } from "./sql";
import { all, change, drawnIds, metrics, mostDrawn, refusal, shown, view } from "./state";
import { Table } from "./table";

function Curves() {
  const { ids, left } = drawnIds.value;
  return (
    <>
      <Choices ids={ids} names={metrics.value} />
      {left > 0 && <p class="counts">Drawn are the picked and the first {mostDrawn}; {left} more are in the list.</p>}
      <Charts ids={ids} names={metrics.value} />
    </>
  );
}

const parts: Record<Panel, () => preact.JSX.Element> = {
  charts: Curves, compare: Compare, scatter: Scatter, parallel: Parallel, params: Matters, media: Gallery, sql: Sql, code: CodeOf,
};

export function List() {
  const { pick, panel } = view.value;
  const Part = parts[panel];
  return (
    <main class="list">
      <h1 class="hidden">Experiments</h1>
      <section class="left" aria-label="List">
        <div class="bar">
          <p class="counts" role="status">
            {shown.value.length === all.value.length ? count(all.value.length, "experiment") : `${shown.value.length} of ${count(all.value.length, "experiment")}`}
            {pick.length > 0 && <>, {pick.length} picked <button type="button" onClick={() => change({ pick: [] })}>let go</button></>}
          </p>
          <ColumnMenu />
        </div>
        {refusal.value && <p class="bad" role="alert">{refusal.value}</p>}
        <Table />
      </section>
      <section class="right" aria-label="View">
        <nav class="tabs" aria-label="Views">{panels.map((name) => <Lead key={name} to={{ panel: name }} current={name === panel}>{name}</Lead>)}</nav>
        <Part />
      </section>
    </main>
  );
}
