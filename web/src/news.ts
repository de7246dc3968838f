/** Messages of the server about what was logged, and curves that grow by them. */
import type { Curve } from "./columns";
import { float, type CurveAnswer } from "./source";

export type Message =
  | { name: "hello" | "index" }
  | { name: "stale"; id: string; m?: string }
  | { name: "changed"; id: string; types: readonly string[] }
  | Points;

export interface Points {
  name: "points";
  id: string;
  m: string;
  /** Steps, moments, coordinates and values, one of each for a point. */
  x: readonly (number | string | null)[];
  t: readonly number[];
  at: readonly Readonly<Record<string, unknown>>[];
  y: readonly (number | string | null)[];
}

/** Most experiments that the server follows for one stream. */
export const mostWatched = 200;

/** Join what tabs watch; each in turn gives one where all are too many. */
export function union(watches: ReadonlyMap<string, readonly string[]>): string[] {
  const all = new Set<string>();
  const longest = Math.max(0, ...[...watches.values()].map((ids) => ids.length));
  for (let at = 0; at < longest; at += 1) for (const ids of watches.values()) if (ids[at] !== undefined) all.add(ids[at]!);
  return [...all].slice(0, mostWatched).sort();
}

/** Find the position of a new point on an axis, or null where only the server knows it. */
export function position(points: Points, at: number, axis: string): number | null {
  if (axis === "step") return float(points.x[at]);
  if (axis === "time") return points.t[at] ?? null;
  if (axis.startsWith("at.")) return float(points.at[at]?.[axis.slice(3)]);
  return null;
}

/**
 * Add new points to an answer: in the columns where they lie, and behind the last one each in a column of its own, so that
 * nothing is thinned. The answer is null where only the server can say how the curve goes on.
 */
export function grown(answer: CurveAnswer, all: readonly Points[], axis: string, isZoomed: boolean): CurveAnswer | null {
  const curves = new Map(answer.curves.map((curve) => [curve.id, curve]));
  const behind: { id: string; x: number; y: number }[] = [];
  const inside: { id: string; column: number; y: number }[] = [];
  for (const points of all) {
    const curve = curves.get(points.id);
    if (!curve || curve.smooth) return null;
    for (let at = 0; at < points.y.length; at += 1) {
      const x = position(points, at, axis);
      const y = float(points.y[at]);
      if (x === null || y === null) return null;
      // A point before the end of its curve would have to be put between others; one at the end may be there already.
      const end = curves.get(points.id)!.ends?.[1];
      if (end !== undefined && x <= end) return null;
      if (answer.to <= answer.from) return null;
      if (x >= answer.to) {
        if (!isZoomed) behind.push({ id: points.id, x, y });
      } else if (x >= answer.from) inside.push({ id: points.id, column: columnOf(answer.x, x), y });
      curves.set(points.id, { ...curve, ends: [curve.ends?.[0] ?? x, Math.max(curve.ends?.[1] ?? x, x)] });
    }
  }
  const xs = [...new Set(behind.map((point) => point.x))].filter((x) => x > answer.x[answer.x.length - 1]!).sort((a, b) => a - b);
  const x = Float64Array.from([...answer.x, ...xs]);
  const next = answer.curves.map((curve): Curve => {
    const longer = (values: Float64Array): Float64Array => {
      const out = new Float64Array(x.length).fill(NaN);
      out.set(values);
      return out;
    };
    const grownCurve: Curve = {
      ...curve, ends: curves.get(curve.id)!.ends, first: longer(curve.first), min: longer(curve.min), max: longer(curve.max), last: longer(curve.last), marks: [...curve.marks],
    };
    for (const point of inside) if (point.id === curve.id) put(grownCurve, point.column, point.y);
    for (const point of behind) if (point.id === curve.id) put(grownCurve, columnOf(x, point.x), point.y);
    return grownCurve;
  });
  return { ...answer, x, to: Math.max(answer.to, x[x.length - 1]!), curves: next };
}

/** Find the column of a position: the last that begins at or before it. */
export function columnOf(x: ArrayLike<number>, value: number): number {
  let low = 0;
  let high = x.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (x[middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

function put(curve: Curve, column: number, y: number): void {
  curve.points += 1;
  if (Number.isFinite(y)) {
    if (curve.last[column] !== curve.last[column]) {
      curve.first[column] = curve.min[column] = curve.max[column] = y;
    } else {
      curve.min[column] = Math.min(curve.min[column]!, y);
      curve.max[column] = Math.max(curve.max[column]!, y);
    }
    curve.last[column] = y;
    return;
  }
  const kind = Number.isNaN(y) ? "nan" : y > 0 ? "inf" : "ninf";
  curve[kind] += 1;
  const at = curve.marks.findIndex((mark) => mark.column === column && mark.kind === kind);
  if (at < 0) curve.marks.push({ column, kind, count: 1 });
  else curve.marks[at] = { ...curve.marks[at]!, count: curve.marks[at]!.count + 1 };
}
