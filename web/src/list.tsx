/** The list of experiments, and beside it a view of those picked. */
import { Charts, Choices } from "./charts";
import { count } from "./format";
import { all, change, drawnIds, metrics, mostDrawn, refusal, shown, view } from "./state";
import { Table } from "./table";

export function List() {
  const picked = view.value.pick.length;
  const { ids, left } = drawnIds.value;
  return (
    <main class="list">
      <h1 class="hidden">Experiments</h1>
      <section class="left" aria-label="List">
        <p class="counts" role="status">
          {shown.value.length === all.value.length ? count(all.value.length, "experiment") : `${shown.value.length} of ${count(all.value.length, "experiment")}`}
          {picked > 0 && <>, {picked} picked <button type="button" onClick={() => change({ pick: [] })}>let go</button></>}
        </p>
        {refusal.value && <p class="bad" role="alert">{refusal.value}</p>}
        <Table />
      </section>
      <section class="right" aria-label="Charts">
        <Choices ids={ids} names={metrics.value} />
        {left > 0 && <p class="counts">Drawn are the picked and the first {mostDrawn}; {left} more are in the list.</p>}
        <Charts ids={ids} names={metrics.value} />
      </section>
    </main>
  );
}
