/** SQL over all experiments, its answer as a table and as a chart. */
import { useEffect, useState } from "preact/hooks";
import { useAnswer } from "./answers";
import { Rows } from "./bits";
import { Check, Field } from "./charts";
import { color } from "./colors";
import { count, moment, plain } from "./format";
import { axis } from "./scales";
import { bentWords, Plot } from "./scatter";
import { change, isDark, view } from "./state";

interface Answer {
  columns: { name: string; type: string }[];
  rows: unknown[][];
  more: boolean;
  skipped: string[];
  seconds: number;
}

const example = "select name, params.lr, metrics.\"loss\".last from experiments order by 3";

export function Sql() {
  const { sql, lx, y: yScale, axes } = view.value;
  const [draft, setDraft] = useState(sql);
  useEffect(() => setDraft(sql), [sql]);
  const { value, problem } = useAnswer<Answer>(sql ? "sql" : "", { q: sql, limit: "1000" });
  const numeric = value ? value.columns.flatMap((column, at) => (column.type === "number" || column.type === "time" ? [at] : [])) : [];
  const names = value?.columns.map((column) => column.name) ?? [];
  const usual = numeric.length > 1 ? [numeric[0]!, numeric[numeric.length - 1]!] : [-1, numeric[0] ?? -1];
  // Columns that the reader chose, where this answer has them.
  const [x, y] = usual.map((otherwise, at) => (axes[at] && names.includes(axes[at]) ? names.indexOf(axes[at]) : otherwise)) as [number, number];
  const name = (at: number): string => (at < 0 ? "row" : (value?.columns[at]?.name ?? ""));
  const words = value ? value.columns.findIndex((column) => column.type === "text") : -1;
  const dots = value && y >= 0 ? value.rows.map((row, at) => ({ name: words < 0 ? `row ${at + 1}` : plain(row[words]), x: x < 0 ? at + 1 : row[x], y: row[y], shade: null, tint: color(0, isDark.value), isPicked: false })).filter((dot) => dot.x != null && dot.y != null) : [];
  const [across, up] = [axis(dots.map((dot) => dot.x), lx), axis(dots.map((dot) => dot.y), yScale === "log")];
  return (
    <>
      <form class="query" onSubmit={(event) => {
        event.preventDefault();
        change({ sql: draft.trim() });
      }}>
        <textarea aria-label="SQL" rows={4} spellcheck={false} placeholder={example} value={draft} onInput={(event) => setDraft(event.currentTarget.value)} onKeyDown={(event) => {
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) change({ sql: draft.trim() });
        }} />
        <button type="submit" class="act">run</button> <Check label="log across" checked={lx} onChange={() => change({ lx: !lx })} /> <Check label="log up" checked={yScale === "log"} onChange={() => change({ y: yScale === "log" ? "linear" : "log" })} /> <small>Ctrl-Enter. Views: experiments, runs, events, metrics, files.</small>
      </form>
      {problem && <p class="bad" role="alert">{problem}</p>}
      {value && (
        <div class="panel">
          {numeric.length > 0 && (
            <p class="between">
              <Field label="across" options={names} value={x < 0 ? "" : names[x]!} placeholder="row" onChange={(text) => change({ axes: [text, names[y] ?? ""] })} />
              <Field label="up" options={names} value={names[y] ?? ""} onChange={(text) => change({ axes: [names[x] ?? "", text] })} />
            </p>
          )}
          {dots.length > 1 && <Plot dots={dots} x={across} y={up} label={`${name(y)} over ${name(x)}: ${count(dots.length, "row")}`} line={x < 0} />}
          <Rows label="Answer" head={value.columns.map((column) => column.name)} numbers={value.columns.flatMap((column, at) => (column.type === "number" ? [at] : []))}
            rows={value.rows.map((row) => row.map((cell, at) => (value.columns[at]!.type === "time" && typeof cell === "number" ? moment(cell) : plain(cell))))} />
          <p class="foot">{count(value.rows.length, "row")}{value.more ? ", and more" : ""}, {Math.round(value.seconds * 1000)} ms{dots.length > 1 ? `; drawn: ${name(y)} over ${name(x)}.${bentWords(across, up)}` : ""}{value.skipped.length ? `; left out: ${value.skipped.join(", ")}` : ""}</p>
        </div>
      )}
    </>
  );
}
