/** Which param matters for a metric, by a stated method. */
import { Field } from "./charts";
import { Card } from "./bits";
import { count, number } from "./format";
import { importance, method } from "./importance";
import { title } from "./rows";
import { defaults } from "./scatter";
import { change, columnNames, shown, view } from "./state";

export function Matters() {
  const { axes } = view.value;
  const metric = axes[1] || defaults().y;
  const options = columnNames.value.filter((name) => name.startsWith("metrics.") || name === "duration");
  const params = columnNames.value.filter((name) => name.startsWith("params."));
  const shares = importance(shown.value, metric, params);
  return (
    <>
      <div class="choices"><Field wide label="metric" options={options} value={metric} onChange={(text) => change({ axes: [axes[0] ?? "", text, axes[2] ?? ""] })} /></div>
      <div class="cards">
        <Card wide label={`What explains ${title(metric)}`}>
          {shares.length ? (
            <ol class="shares">
              {shares.map(({ param, share, rows, groups }) => {
                const [least, most] = [Math.min(...groups.map((group) => group.mean)), Math.max(...groups.map((group) => group.mean))];
                return (
                  <li key={param}>
                    <b>{title(param)}</b>
                    <span class="track" aria-hidden="true"><i style={{ width: `${share * 100}%` }} /></span>
                    <span class="right">{Math.round(share * 100)} %</span>
                    <small>{groups.map((group) => <span key={group.label} class={groups.length > 1 && most > least && (group.mean === least || group.mean === most) ? "end" : ""}>{group.label}: {number(group.mean, 3)} <i>({group.count})</i></span>)}{rows < shown.value.length && <span>of {count(rows, "experiment")}</span>}</small>
                  </li>
                );
              })}
            </ol>
          ) : <p class="dim">No param differs among experiments that have it, or too few are shown.</p>}
          <p class="foot">{method}</p>
        </Card>
      </div>
    </>
  );
}
