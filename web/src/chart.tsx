/** One chart: the crowd in grey as upright spans, picked experiments as lines. The only module that touches uPlot. */
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { drawn } from "./rows";
import { color, dashes, mixed } from "./colors";
import { ends, filled, nearest, outside, spans, type Curve } from "./columns";
import { count, duration, number } from "./format";
import { curves as fetchCurves, type CurveAnswer } from "./source";
import { change, cursor, isDark, rows, view } from "./state";

const sync = uPlot.sync("all");

function grounds(): { ground: string; crowd: string; line: string; text: string } {
  return isDark.value
    ? { ground: "#1b1c1f", crowd: "#4a4c52", line: "#2b2d31", text: "#a5a29b" }
    : { ground: "#ffffff", crowd: "#cfcdc6", line: "#eceae5", text: "#66645e" };
}

/** Trace a curve through first, least, greatest and last of its columns. */
function path(u: uPlot, curve: Curve, values: Float64Array | null): Path2D {
  const out = new Path2D();
  const x = u.data[0] as unknown as Float64Array;
  let open = false;
  for (let index = 0; index < x.length; index += 1) {
    const last = values ? values[index]! : curve.last[index]!;
    if (last !== last) continue;
    const across = u.valToPos(x[index]!, "x", true);
    const corners = values || curve.min[index] === curve.max[index] ? [last] : [curve.first[index]!, curve.min[index]!, curve.max[index]!, last];
    for (const corner of corners) {
      const up = u.valToPos(corner, "y", true);
      if (open) out.lineTo(across, up);
      else out.moveTo(across, up);
      open = true;
    }
  }
  return out;
}

function drawCrowd(u: uPlot, crowd: readonly Curve[], tint: string): void {
  const { ctx } = u;
  const x = u.data[0] as unknown as Float64Array;
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  ctx.fillStyle = ctx.strokeStyle = tint;
  ctx.lineWidth = devicePixelRatio;
  for (const curve of crowd) {
    if (filled(curve) < x.length / 3) {
      // Few points lie columns apart: upright spans would leave them unconnected.
      ctx.stroke(path(u, curve, null));
      continue;
    }
    const upright = spans(curve, (index) => Math.round(u.valToPos(x[index]!, "x", true)), (value) => u.valToPos(value, "y", true));
    for (let at = 0; at < upright.length; at += 3) {
      const top = Math.floor(upright[at + 1]!);
      ctx.fillRect(upright[at]!, top, 1, Math.max(Math.ceil(upright[at + 2]!) - top, 1));
    }
  }
  ctx.restore();
}

/** Draw NaN and infinities where they were logged: a ring on the floor, arrows at the edges. */
function drawMarks(u: uPlot, all: readonly Curve[], tint: (curve: Curve) => string): void {
  const { ctx } = u;
  const size = 4 * devicePixelRatio;
  const { top, height } = u.bbox;
  for (const curve of all) {
    ctx.fillStyle = ctx.strokeStyle = tint(curve);
    ctx.lineWidth = 1.5 * devicePixelRatio;
    for (const mark of curve.marks) {
      const x = u.valToPos((u.data[0] as unknown as Float64Array)[mark.column] ?? NaN, "x", true);
      if (x !== x) continue;
      ctx.beginPath();
      if (mark.kind === "nan") {
        ctx.moveTo(x - size / 2, top + height - size - 1);
        ctx.lineTo(x + size / 2, top + height - 1);
        ctx.moveTo(x + size / 2, top + height - size - 1);
        ctx.lineTo(x - size / 2, top + height - 1);
        ctx.stroke();
      } else {
        const [tip, foot] = mark.kind === "inf" ? [top, top + size] : [top + height, top + height - size];
        ctx.moveTo(x, tip);
        ctx.lineTo(x - size / 2, foot);
        ctx.lineTo(x + size / 2, foot);
        ctx.fill();
      }
    }
  }
}

/** Say what a chart shows, for people who cannot see it. */
export function sentence(metric: string, all: readonly Curve[], name: (id: string) => string): string {
  const range = ends(all, false);
  if (!range) return `${metric}: no points.`;
  const lasts = all.flatMap((curve) => {
    const at = nearest(curve, curve.last.length - 1);
    return at < 0 ? [] : [{ id: curve.id, last: curve.last[at]! }];
  }).sort((a, b) => a.last - b.last);
  const [low, high] = [lasts[0]!, lasts[lasts.length - 1]!];
  const spread = lasts.length === 1 ? `it ends at ${number(low.last)}` : `they end between ${number(low.last)} (${name(low.id)}) and ${number(high.last)} (${name(high.id)})`;
  return `${metric}: ${count(all.length, "curve")} from ${number(range[0])} to ${number(range[1])}; ${spread}.`;
}

export function footer(all: readonly Curve[]): string {
  const sum = (key: "points" | "nan" | "inf" | "ninf"): number => all.reduce((total, curve) => total + curve[key], 0);
  const infinite = sum("inf") + sum("ninf");
  return [count(all.length, "curve"), count(sum("points"), "point"), sum("nan") ? `${sum("nan")} NaN` : "", infinite ? `${infinite} infinite` : ""].filter(Boolean).join(", ");
}

function save(name: string, url: string): void {
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
}

export function Chart({ metric, ids }: { metric: string; ids: readonly string[] }) {
  const box = useRef<HTMLDivElement>(null);
  const figure = useRef<HTMLElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [answer, setAnswer] = useState<CurveAnswer | null>(null);
  const [refused, setRefused] = useState("");
  const [width, setWidth] = useState(0);
  const [seen, setSeen] = useState(false);
  const [asTable, setAsTable] = useState(false);
  const { exp, pick: picks, x, y, smooth, zoom, robust, asof } = view.value;
  const dark = isDark.value;
  const name = (id: string): string => rows.value.get(id)?.name || id.slice(0, 8);

  useEffect(() => {
    const element = figure.current!;
    const size = new ResizeObserver(() => setWidth(Math.floor(box.current?.clientWidth ?? element.clientWidth)));
    // A chart asks for its points only once it comes near the screen.
    const sight = new IntersectionObserver((entries) => setSeen(entries.some((entry) => entry.isIntersecting)), { rootMargin: "200px" });
    size.observe(element);
    sight.observe(element);
    return () => {
      size.disconnect();
      sight.disconnect();
    };
  }, []);

  // Moment of the newest line of those drawn: points are asked for again when it moves, unless the reader looks at a span of his own.
  const newest = zoom || asof ? 0 : Math.max(0, ...ids.map((id) => rows.value.get(id)?.age || 0));
  const columns = Math.max(Math.floor((width - 62) * devicePixelRatio), 50);
  useEffect(() => {
    if (!seen || !width || !ids.length) return undefined;
    const asking = new AbortController();
    fetchCurves({ ids, metric, x, zoom, columns, smooth, asof }, asking.signal).then(
      (next) => {
        // A pressed pointer draws a zoom, which a new plot would end.
        if (box.current?.matches(":active")) return;
        setAnswer(next);
        setRefused("");
      },
      (error: Error) => error.name !== "AbortError" && setRefused(error.message),
    );
    return () => asking.abort();
  }, [seen, width > 0 && columns, ids.join(), metric, x, zoom?.join(), smooth, asof, newest]);

  const shown = (answer?.curves ?? []).filter((curve) => curve.points + curve.nan + curve.inf + curve.ninf > 0);
  const range = ends(shown, robust);
  const isArcsinh = y === "log" && range !== null && range[0] <= 0;
  const hidden = robust && range ? outside(shown, range[0], range[1]) : 0;
  const pickKey = (exp ? [] : picks).map((pick) => `${pick.id}.${pick.slot}`).join();

  useEffect(() => {
    if (!answer || !width || asTable || !box.current) return undefined;
    const { ground, crowd: grey, line, text } = grounds();
    const step = (answer.to - answer.from) / answer.columns || 1;
    const grid = Float64Array.from({ length: answer.columns }, (_, index) => answer.from + index * step);
    const picked = shown.filter((curve) => drawn(view.value, curve.id) >= 0);
    const crowd = shown.filter((curve) => drawn(view.value, curve.id) < 0);
    const tint = (curve: Curve): string => (drawn(view.value, curve.id) < 0 ? grey : color(drawn(view.value, curve.id), dark));
    const log = y === "log";
    const low = range?.[0] ?? 0;
    const high = range?.[1] ?? 1;
    const pad = high > low ? (high - low) * 0.05 : Math.abs(high) * 0.1 || 1;
    const axis = { stroke: text, grid: { stroke: line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    const series: uPlot.Series[] = picked.map((curve): uPlot.Series => {
      const own = color(drawn(view.value, curve.id), dark);
      return {
        stroke: own, width: 1.5, dash: dashes(drawn(view.value, curve.id)), spanGaps: true, points: { show: curve.points === 1, size: 5, fill: own },
        paths: (u) => ({ stroke: path(u, curve, curve.smooth) }),
      };
    });
    const made = new uPlot({
      width, height: 200, padding: [8, 8, 0, 0], legend: { show: false },
      series: [{}, ...series],
      scales: {
        x: { time: x === "time", min: answer.from, max: answer.to > answer.from ? answer.to : answer.from + 1 },
        y: {
          distr: log ? (isArcsinh ? 4 : 3) : 1, asinh: Math.max(Math.min(Math.abs(high), Math.abs(low)) / 10, Math.max(Math.abs(high), Math.abs(low)) / 1e4) || 1,
          range: () => (log && !isArcsinh ? [low / 1.2, high * 1.2] : [low - pad, high + pad]),
        },
      },
      axes: [
        { ...axis, size: 26, ...(x === "elapsed" ? { values: (_, splits) => splits.map((value) => duration(value) || "0") } : {}) },
        { ...axis, size: 54, values: (_, splits) => splits.map((value) => (value == null ? "" : number(value, 3))) },
      ],
      cursor: { sync: { key: "all", scales: ["x", null] }, drag: { x: true, y: false, setScale: false }, points: { show: false }, y: false },
      hooks: {
        drawClear: [(u) => {
          u.ctx.fillStyle = ground;
          u.ctx.fillRect(0, 0, u.ctx.canvas.width, u.ctx.canvas.height);
        }],
        drawAxes: [(u) => {
          drawCrowd(u, crowd, grey);
          // Behind a smoothed line all its points stay, paler.
          if (smooth) for (const curve of picked) drawCrowd(u, [curve], mixed(tint(curve), ground, 0.3));
        }],
        draw: [(u) => drawMarks(u, shown, tint)],
        setCursor: [(u) => {
          const at = u.cursor.left;
          cursor.value = at == null || at < 0 ? null : u.posToVal(at, "x");
        }],
        setSelect: [(u) => {
          if (u.select.width < 4) return;
          change({ zoom: [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")].map((value) => Number(value.toPrecision(8))) as [number, number] });
        }],
      },
    }, [grid as unknown as number[], ...picked.map((curve) => curve.last as unknown as number[])], box.current);
    made.over.addEventListener("dblclick", () => change({ zoom: null }));
    sync.sub(made);
    plot.current = made;
    return () => {
      sync.unsub(made);
      made.destroy();
      plot.current = null;
    };
  }, [answer, width, pickKey, y, robust, dark, asTable, x]);

  const csv = (): void => {
    const quoted = (value: string): string => (/[",\n]/.test(value) ? `"${value.replace(/"/g, '""')}"` : value);
    const lines = ["experiment,id,x,first,min,max,last"];
    const step = answer ? (answer.to - answer.from) / answer.columns : 0;
    for (const curve of shown) {
      for (let at = 0; at < curve.last.length; at += 1) {
        if (curve.last[at] === curve.last[at]) lines.push([quoted(name(curve.id)), curve.id, answer!.from + at * step, curve.first[at], curve.min[at], curve.max[at], curve.last[at]].join(","));
      }
    }
    save(`${metric.replace(/\W+/g, "-")}.csv`, URL.createObjectURL(new Blob([lines.join("\n")], { type: "text/csv" })));
  };
  const said = answer ? sentence(metric, shown, name) : `${metric}: loading.`;
  return (
    <figure class="chart" ref={figure} aria-label={said}>
      <figcaption>
        <b title={metric}>{metric}</b>
        {isArcsinh && <small title="There are zeros or negative values, which a logarithm has not.">arcsinh axis</small>}
        <span class="tools">
          <button type="button" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>table</button>
          <button type="button" onClick={() => plot.current && save(`${metric.replace(/\W+/g, "-")}.png`, plot.current.ctx.canvas.toDataURL("image/png"))}>PNG</button>
          <button type="button" title="All columns drawn: first, least, greatest and last of each" onClick={csv}>CSV</button>
        </span>
      </figcaption>
      {refused ? <p class="bad" role="status">{refused}</p> : null}
      {asTable ? (
        <div class="scroll" tabIndex={0} role="region" aria-label={`${metric} as a table`}>
          <table><thead><tr><th>experiment</th><th>points</th><th>min</th><th>max</th><th>last</th><th>NaN</th></tr></thead>
            <tbody>{shown.map((curve) => {
              const range = ends([curve], false);
              const at = nearest(curve, curve.last.length - 1);
              return <tr key={curve.id}><td>{name(curve.id)}</td><td>{curve.points}</td><td>{range ? number(range[0]) : ""}</td><td>{range ? number(range[1]) : ""}</td><td>{at < 0 ? "" : number(curve.last[at]!)}</td><td>{curve.nan || ""}</td></tr>;
            })}</tbody>
          </table>
        </div>
      ) : <div class="plot" ref={box} aria-hidden="true" />}
      <Readout answer={answer} curves={shown} name={name} />
      <p class="foot">{answer ? footer(shown) : " "}{hidden ? `, ${count(hidden, "column")} beyond the axis` : ""}</p>
    </figure>
  );
}

/** Values under the pointer, beside the curves and never over them. */
function Readout({ answer, curves, name }: { answer: CurveAnswer | null; curves: readonly Curve[]; name: (id: string) => string }) {
  const at = cursor.value;
  const picked = curves.filter((curve) => drawn(view.value, curve.id) >= 0);
  const listed = (picked.length ? picked : curves.length === 1 ? curves : []).slice(0, 12);
  if (!answer || !listed.length) return <div class="readout" />;
  const step = (answer.to - answer.from) / answer.columns || 1;
  const column = at === null ? answer.columns - 1 : Math.min(Math.max(Math.round((at - answer.from) / step), 0), answer.columns - 1);
  return (
    <div class="readout">
      {listed.map((curve) => {
        const near = nearest(curve, column);
        const mine = drawn(view.value, curve.id);
        const low = near < 0 ? NaN : curve.min[near]!;
        const high = near < 0 ? NaN : curve.max[near]!;
        return (
          <span key={curve.id} title={name(curve.id)}>
            <i style={{ background: mine < 0 ? grounds().crowd : color(mine, isDark.value) }} />
            <em>{name(curve.id)}</em>
            <b>{near < 0 ? "" : low === high ? number(low) : `${number(low)} … ${number(high)}`}</b>
          </span>
        );
      })}
    </div>
  );
}
