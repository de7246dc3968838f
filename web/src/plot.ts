/** The canvas of a chart: crowd and bands below, lines above. The only module that touches uPlot. */
import uPlot from "uplot";
import { corners, filled, spans, type Curve } from "./columns";
import { duration } from "./format";
import { arcsinhMarks, markWords, momentWords, powers } from "./scales";
import type { Band, CurveAnswer } from "./source";

const sync = uPlot.sync("all");
/** The plot that has the pointer: the others follow its crosshair, and say nothing about where it is. */
let pointed: uPlot | null = null;

export interface Stroke {
  color: string;
  dash: number[];
}

/** What is drawn; the plot looks at it anew at each drawing. */
export interface Scene {
  answer: CurveAnswer;
  /** Curves in grey, and those with a colour. */
  crowd: readonly Curve[];
  lines: readonly (Stroke & { curve: Curve })[];
  bands: readonly (Stroke & { band: Band })[];
  /** Ends of y. */
  low: number;
  high: number;
  isSmooth: boolean;
}

export interface Look {
  width: number;
  height: number;
  axis: string;
  isLogX: boolean;
  scale: "linear" | "log" | "arcsinh";
  ground: string;
  grey: string;
  rule: string;
  text: string;
  /** Colour of the points behind a smoothed line. */
  pale: (color: string) => string;
}

export interface Actions {
  moved: (x: number | null) => void;
  zoomed: (from: number, to: number) => void;
  left: () => void;
  /** A position, and pixels from the top. */
  clicked: (x: number, pixel: number) => void;
}

/** Trace values at positions; where there is none, the line goes on to the next. */
function trace(u: uPlot, x: ArrayLike<number>, values: ArrayLike<number>): Path2D {
  const out = new Path2D();
  let open = false;
  for (let index = 0; index < values.length; index += 1) {
    if (values[index] !== values[index]) continue;
    const [across, up] = [u.valToPos(x[index]!, "x", true), u.valToPos(values[index]!, "y", true)];
    if (open) out.lineTo(across, up);
    else out.moveTo(across, up);
    open = true;
  }
  return out;
}

function grid(u: uPlot): Float64Array {
  return u.data[0] as unknown as Float64Array;
}

/** Trace a curve through all four values of its columns, or along its smoothed line. */
function path(u: uPlot, curve: Curve, isSmooth: boolean): Path2D {
  return isSmooth && curve.smooth ? trace(u, grid(u), curve.smooth) : trace(u, ...corners(curve, grid(u)));
}

function clipped(u: uPlot, drawing: (ctx: CanvasRenderingContext2D) => void): void {
  const { ctx } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  drawing(ctx);
  ctx.restore();
}

function drawCrowd(u: uPlot, crowd: readonly Curve[], tint: string): void {
  const x = grid(u);
  clipped(u, (ctx) => {
    ctx.fillStyle = ctx.strokeStyle = tint;
    ctx.lineWidth = devicePixelRatio;
    for (const curve of crowd) {
      if (filled(curve) < x.length / 3) {
        // Few points lie columns apart: upright spans would leave them unconnected.
        ctx.stroke(path(u, curve, false));
        continue;
      }
      const upright = spans(curve, (index) => Math.round(u.valToPos(x[index]!, "x", true)), (value) => u.valToPos(value, "y", true));
      for (let at = 0; at < upright.length; at += 3) {
        const top = Math.floor(upright[at + 1]!);
        ctx.fillRect(upright[at]!, top, 1, Math.max(Math.ceil(upright[at + 2]!) - top, 1));
      }
    }
  });
}

function drawBand(u: uPlot, band: Band, tint: string): void {
  const x = grid(u);
  clipped(u, (ctx) => {
    ctx.beginPath();
    for (const [values, order] of [[band.p10, 1], [band.p90, -1]] as const) {
      for (let step = 0; step < x.length; step += 1) {
        const index = order > 0 ? step : x.length - 1 - step;
        if (values[index] === values[index]) ctx.lineTo(u.valToPos(x[index]!, "x", true), u.valToPos(values[index]!, "y", true));
      }
    }
    ctx.closePath();
    ctx.globalAlpha = 0.2;
    ctx.fillStyle = tint;
    ctx.fill();
    // Outermost members stay in sight, so that no spike of a single one is lost in its band.
    ctx.globalAlpha = 0.55;
    ctx.strokeStyle = tint;
    ctx.lineWidth = devicePixelRatio / 2;
    ctx.stroke(trace(u, x, band.min));
    ctx.stroke(trace(u, x, band.max));
  });
}

/** Draw NaN and infinities where they were logged: a cross on the floor, arrows at the edges. */
function drawMarks(u: uPlot, curve: Curve, tint: string): void {
  const { ctx } = u;
  const size = 4 * devicePixelRatio;
  const { top, height } = u.bbox;
  // uPlot sets only the styles that differ from its last ones: the lines of the grid would be drawn in these.
  ctx.save();
  ctx.fillStyle = ctx.strokeStyle = tint;
  ctx.lineWidth = 1.5 * devicePixelRatio;
  for (const mark of curve.marks) {
    const x = u.valToPos(grid(u)[mark.column] ?? NaN, "x", true);
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
  ctx.restore();
}

function data(scene: Scene): uPlot.AlignedData {
  const columns = [scene.answer.x, ...scene.bands.map(({ band }) => band.p50), ...scene.lines.map(({ curve }) => curve.last)];
  return columns as unknown as uPlot.AlignedData;
}

/** Ends of x: of one position a range around it. */
export function across(answer: CurveAnswer): [number, number] {
  return [answer.from, answer.to > answer.from ? answer.to : answer.from + 1];
}

/** Put a plot into a box. */
export function plot(box: HTMLElement, scene: { current: Scene }, look: Look, actions: Actions): uPlot {
  const axis = { stroke: look.text, grid: { stroke: look.rule, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const { lines, bands } = scene.current;
  // Lines and bands may be fewer when they are drawn, until the plot is built anew.
  const series: uPlot.Series[] = [
    ...bands.map((stroke, at): uPlot.Series => ({
      stroke: stroke.color, width: 2, dash: stroke.dash, points: { show: false }, paths: (u) => ({ stroke: scene.current.bands[at] ? trace(u, grid(u), scene.current.bands[at]!.band.p50) : new Path2D() }),
    })),
    ...lines.map((stroke, at): uPlot.Series => ({
      stroke: stroke.color, width: 1.5, dash: stroke.dash, spanGaps: true, points: { show: stroke.curve.points === 1, size: 5, fill: stroke.color },
      paths: (u) => ({ stroke: scene.current.lines[at] ? path(u, scene.current.lines[at]!.curve, true) : new Path2D() }),
    })),
  ];
  const [min, max] = across(scene.current.answer);
  const size = (scene_: Scene): number => Math.max(Math.abs(scene_.high), Math.abs(scene_.low));
  const linear = Math.max(Math.min(Math.abs(scene.current.high), Math.abs(scene.current.low)) / 10, size(scene.current) / 1e4) || 1;
  // uPlot's own marks of a logarithm begin at a power of ten only: between others it would count for ever.
  const logMarks = { splits: (_: uPlot, __: number, from: number, to: number) => powers(from, to), filter: (_: uPlot, splits: number[]) => splits };
  const marksOfY = { linear: {}, log: logMarks, arcsinh: { ...logMarks, splits: (_: uPlot, __: number, from: number, to: number) => arcsinhMarks(from, to, linear) } }[look.scale];
  const made = new uPlot({
    width: look.width, height: look.height, padding: [8, 14, 0, 0], legend: { show: false },
    series: [{}, ...series],
    scales: {
      x: { time: look.axis === "time", min, max, distr: look.isLogX ? 3 : 1 },
      y: {
        distr: { linear: 1, log: 3, arcsinh: 4 }[look.scale] as 1 | 3 | 4,
        asinh: linear,
        range: () => {
          const { low, high } = scene.current;
          if (look.scale === "arcsinh" && high > low) {
            const [from, to] = [Math.asinh(low / linear), Math.asinh(high / linear)];
            return [Math.sinh(from - (to - from) * 0.04) * linear, Math.sinh(to + (to - from) * 0.04) * linear];
          }
          const pad = high > low ? (high - low) * 0.05 : Math.abs(high) * 0.1 || 1;
          return look.scale === "log" ? [low / 1.2, high * 1.2] : [low - pad, high + pad];
        },
      },
    },
    axes: [
      { ...axis, ...(look.isLogX ? logMarks : {}), size: 26, values: (_, splits) => (look.axis === "time" ? momentWords(splits) : look.axis === "elapsed" || look.axis === "active" ? splits.map((value) => (value == null ? "" : duration(value) || "0")) : markWords(splits)) },
      { ...axis, ...marksOfY, size: 54, values: (_, splits) => markWords(splits) },
    ],
    cursor: { sync: { key: "all", scales: ["x", null] }, drag: { x: true, y: false, setScale: false }, points: { show: false }, y: false },
    hooks: {
      drawClear: [(u) => {
        u.ctx.fillStyle = look.ground;
        u.ctx.fillRect(0, 0, u.ctx.canvas.width, u.ctx.canvas.height);
      }],
      drawAxes: [(u) => {
        const { crowd, lines, bands, isSmooth } = scene.current;
        drawCrowd(u, crowd, look.grey);
        for (const { band, color } of bands) drawBand(u, band, color);
        // Behind a smoothed line all its points stay, paler.
        if (isSmooth) for (const { curve, color } of lines) drawCrowd(u, [curve], look.pale(color));
      }],
      draw: [(u) => {
        for (const curve of scene.current.crowd) drawMarks(u, curve, look.grey);
        for (const { curve, color } of scene.current.lines) drawMarks(u, curve, color);
      }],
      setCursor: [(u) => {
        const at = u.cursor.left;
        if (u === pointed && at != null && at >= 0) actions.moved(u.posToVal(at, "x"));
      }],
      setSelect: [(u) => {
        if (u.select.width >= 4) actions.zoomed(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
      }],
    },
  }, data(scene.current), box);
  // Before the movement of the mouse that follows it, which uPlot listens to.
  made.over.addEventListener("pointermove", () => (pointed = made));
  made.over.addEventListener("mouseleave", () => {
    pointed = null;
    actions.moved(null);
  });
  made.over.addEventListener("dblclick", actions.left);
  let pressed = -1;
  made.over.addEventListener("mousedown", (event) => (pressed = event.clientX));
  made.over.addEventListener("click", (event) => {
    const inside = made.over.getBoundingClientRect();
    if (Math.abs(event.clientX - pressed) < 3) actions.clicked(made.posToVal(event.clientX - inside.left, "x"), event.clientY - inside.top);
  });
  sync.sub(made);
  return made;
}

/** Draw a scene that has grown, without a new plot. */
export function renew(u: uPlot, scene: Scene): void {
  u.setData(data(scene), false);
  const [min, max] = across(scene.answer);
  u.setScale("x", { min, max });
}

export function remove(u: uPlot): void {
  sync.unsub(u);
  u.destroy();
}

/** Move the crosshair of all charts to a position of x. */
export function point(u: uPlot, x: number): void {
  // The fourth argument, which the types leave out, hands it on to the other charts.
  (u.setCursor as (options: { left: number; top: number }, fire: boolean, publish: boolean) => void)({ left: u.valToPos(x, "x"), top: 1 }, true, true);
}

/** Marks of the axes as they are drawn: positions in pixels, and words. */
export function ticks(u: uPlot): { x: [number, string][]; y: [number, string][] } {
  const of = (at: 0 | 1, scale: "x" | "y"): [number, string][] => {
    const { _splits: splits = [], _values: values = [] } = u.axes[at] as { _splits?: number[]; _values?: (string | number | null)[] };
    return splits.flatMap((split, index): [number, string][] => (values[index] == null || values[index] === "" ? [] : [[u.valToPos(split, scale), String(values[index])]]));
  };
  return { x: of(0, "x"), y: of(1, "y") };
}
