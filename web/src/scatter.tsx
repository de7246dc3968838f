/** Points of experiments, or of the rows of a query, over two axes, with a colour. */
import { useEffect, useRef, useState } from "preact/hooks";
import { Field, Check } from "./charts";
import { color, scale } from "./colors";
import { count, plain, number } from "./format";
import { cell, slot, title, varied } from "./rows";
import { axis, type Axis } from "./scales";
import { change, columnNames, isDark, metrics, pick, rows, shown, view } from "./state";

export interface Dot {
  name: string;
  x: unknown;
  y: unknown;
  /** Colour of its own, before that of the scale. */
  tint: string;
  shade: unknown;
  isPicked: boolean;
}

const edges = { left: 62, right: 16, top: 12, bottom: 34 };

/** Clear a canvas and set its size; what is drawn then is in pixels of the page. */
export function canvasOf(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D | null {
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  const ctx = width ? canvas.getContext("2d") : null;
  ctx?.scale(devicePixelRatio, devicePixelRatio);
  return ctx;
}

export function Plot({ dots, x, y, label, onPick, line }: { dots: readonly Dot[]; x: Axis; y: Axis; label: string; onPick?: (at: number) => void; line?: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const front = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const [near, setNear] = useState(-1);
  const height = Math.min(460, Math.max(260, width * 0.62));
  const dark = isDark.value;
  const across = (at: number): number => edges.left + at * (width - edges.left - edges.right);
  const up = (at: number): number => height - edges.bottom - at * (height - edges.top - edges.bottom);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    observer.observe(canvas.current!.parentElement!);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const ctx = canvasOf(canvas.current!, width, height);
    if (!ctx) return;
    ctx.font = "11px system-ui, sans-serif";
    const [rule, words] = dark ? ["#2b2d31", "#a5a29b"] : ["#eceae5", "#66645e"];
    ctx.strokeStyle = rule;
    ctx.fillStyle = words;
    ctx.textAlign = "right";
    for (const mark of y.marks) {
      ctx.strokeRect(edges.left, up(mark.at), width - edges.left - edges.right, 0);
      ctx.fillText(mark.label.slice(0, 9), edges.left - 7, up(mark.at) + 4);
    }
    ctx.textAlign = "center";
    for (const mark of x.marks) {
      ctx.strokeRect(across(mark.at), edges.top, 0, height - edges.top - edges.bottom);
      ctx.fillText(mark.label.slice(0, 12), across(mark.at), height - edges.bottom + 16);
    }
    if (line) {
      ctx.strokeStyle = words;
      ctx.beginPath();
      for (const dot of dots) {
        const [a, b] = [x.at(dot.x), y.at(dot.y)];
        if (a === a && b === b) ctx.lineTo(across(a), up(b));
      }
      ctx.stroke();
    }
    for (const dot of [...dots].sort((one, two) => Number(one.isPicked) - Number(two.isPicked))) circle(ctx, dot, dot.isPicked);
  }, [width, height, dots, x, y, dark]);
  useEffect(() => {
    // What is under the pointer lies on a canvas of its own: thousands of points are not drawn anew for it.
    const ctx = canvasOf(front.current!, width, height);
    if (ctx && dots[near]) circle(ctx, dots[near]!, true);
  }, [width, height, dots, x, y, dark, near]);
  const circle = (ctx: CanvasRenderingContext2D, dot: Dot, isFront: boolean): void => {
    const [a, b] = [x.at(dot.x), y.at(dot.y)];
    if (a !== a || b !== b) return;
    ctx.beginPath();
    ctx.arc(across(a), up(b), isFront ? 6 : 4.5, 0, 7);
    ctx.fillStyle = dot.tint;
    ctx.fill();
    ctx.lineWidth = isFront ? 2 : 1;
    ctx.strokeStyle = isFront ? (dark ? "#ffffff" : "#1e1e1c") : dark ? "#1b1c1f" : "#ffffff";
    ctx.stroke();
  };
  const nearest = (event: MouseEvent): number => {
    const inside = canvas.current!.getBoundingClientRect();
    let best = -1;
    let least = 400;
    dots.forEach((dot, at) => {
      const [a, b] = [x.at(dot.x), y.at(dot.y)];
      const away = (across(a) - event.clientX + inside.left) ** 2 + (up(b) - event.clientY + inside.top) ** 2;
      if (away < least) [best, least] = [at, away];
    });
    return best;
  };
  return (
    <div class="scatter">
      <canvas ref={canvas} role="img" aria-label={label} style={{ height: `${height}px`, width: "100%" }} onMouseMove={(event) => setNear(nearest(event))} onMouseLeave={() => setNear(-1)} onClick={(event) => {
        const at = nearest(event);
        if (at >= 0) onPick?.(at);
      }} />
      <canvas ref={front} class="front" aria-hidden="true" style={{ height: `${height}px`, width: "100%" }} />
      <p class="readout">{near >= 0 && dots[near] ? <span><i style={{ background: dots[near]!.tint }} /><b>{dots[near]!.name}</b> <em>{plain(dots[near]!.x)}, {plain(dots[near]!.y)}{dots[near]!.shade == null ? "" : `, ${plain(dots[near]!.shade)}`}</em></span> : null}</p>
    </div>
  );
}

/** Explain the colours: of numbers a scale, of words one each. */
export function Legend({ of, values, by }: { of: string; values: readonly unknown[]; by: Axis }) {
  const numbers = values.filter((value): value is number => typeof value === "number" && Number.isFinite(value));
  if (!values.length) return null;
  if (numbers.length) return <p class="legend">{of} <i class="ramp" aria-hidden="true" /> {number(Math.min(...numbers))} to {number(Math.max(...numbers))}</p>;
  return <p class="legend">{of} {by.marks.map((mark) => <span key={mark.label}><i style={{ background: shade(by, mark.label) }} />{mark.label}</span>)}</p>;
}

/** Say which axes are of arcsinh although a logarithm was asked for. */
export function bentWords(across: Axis, up: Axis): string {
  const bent = [...(across.kind === "arcsinh" ? ["across"] : []), ...(up.kind === "arcsinh" ? ["up"] : [])];
  return bent.length ? ` ${bent.join(" and ")}: arcsinh axis, for zeros or negative values.` : "";
}

/** Choose the colour of a value. */
export function shade(by: Axis, value: unknown): string {
  const at = by.at(value);
  // The darkest and the brightest end of the scale would vanish in one of the grounds.
  return at === at ? scale(0.08 + at * 0.84) : isDark.value ? "#6a6c72" : "#b9b7b0";
}

/** Choose axes where the reader did not: the first param of numbers that differs, the first metric, and another param. */
export function defaults(): { x: string; y: string; by: string } {
  const differing = varied(shown.value);
  const numeric = differing.filter((name) => shown.value.some((row) => typeof row.params[name] === "number"));
  const x = numeric[0] ?? differing[0];
  const by = differing.find((name) => name !== x);
  return { x: x ? `params.${x}` : "created", y: metrics.value[0] ? `metrics.${metrics.value[metrics.value.length - 1]!}` : "duration", by: by ? `params.${by}` : "status" };
}

export function Scatter() {
  const { axes, pick: picks, lx, y: yScale } = view.value;
  const usual = defaults();
  const [x, y, by] = [axes[0] || usual.x, axes[1] || usual.y, axes[2] || usual.by];
  const options = columnNames.value;
  const having = shown.value.filter((row) => cell(row, x) != null && cell(row, y) != null);
  const shades = having.map((row) => cell(row, by));
  const scaleBy = axis(shades, false);
  const dots = having.map((row): Dot => {
    const mine = slot(picks, row.id);
    return { name: row.name, x: cell(row, x), y: cell(row, y), shade: cell(row, by), tint: by === "picks" ? (mine >= 0 ? color(mine, isDark.value) : "#8a8a8a") : shade(scaleBy, cell(row, by)), isPicked: mine >= 0 };
  });
  const set = (at: number, value: string): void => {
    const next = [x, y, by];
    next[at] = value;
    change({ axes: next });
  };
  const [acrossAxis, upAxis] = [axis(dots.map((dot) => dot.x), lx), axis(dots.map((dot) => dot.y), yScale === "log")];
  const numbers = dots.map((dot) => dot.y).filter((value): value is number => typeof value === "number" && Number.isFinite(value));
  const said = `${title(y)} over ${title(x)}: ${count(dots.length, "experiment")}${numbers.length ? ` from ${number(Math.min(...numbers))} to ${number(Math.max(...numbers))}` : ""}, coloured by ${title(by)}.`;
  return (
    <>
      <div class="choices">
        <Field wide label="across" options={options} value={x} onChange={(text) => set(0, text)} />
        <Field wide label="up" options={options} value={y} onChange={(text) => set(1, text)} />
        <Field wide label="colour" options={["picks", ...options]} value={by} onChange={(text) => set(2, text)} />
        <Check label="log across" checked={lx} onChange={() => change({ lx: !lx })} />
        <Check label="log up" checked={yScale === "log"} onChange={() => change({ y: yScale === "log" ? "linear" : "log" })} />
      </div>
      <div class="panel">
        {dots.length ? <>
          <Plot dots={dots} x={acrossAxis} y={upAxis} label={said} onPick={(at) => pick(having[at]!.id)} />
          {by !== "picks" && <Legend of={title(by)} values={shades} by={scaleBy} />}
          <p class="foot">{said} A click picks.{rows.value.size && shown.value.length > dots.length ? ` ${count(shown.value.length - dots.length, "experiment")} without one of both.` : ""}{bentWords(acrossAxis, upAxis)}</p>
        </> : <p class="empty">No experiment shown has both {title(x)} and {title(y)}.</p>}
      </div>
    </>
  );
}
