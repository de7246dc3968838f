/** Points of a curve in the columns of pixels: first, least, greatest and last of each, so that no spike is lost. */

export interface Curve {
  id: string;
  metric: string;
  /** How many numbers it stands for, and what else was logged. */
  points: number;
  /** How many were logged, where not all of them are there. */
  of?: number;
  /** How many lie at or below zero, where x is a logarithm. */
  without?: number;
  nan: number;
  inf: number;
  ninf: number;
  /** Ends of x over all points, or null of an empty curve. */
  ends: readonly [number, number] | null;
  /** One value for each column; NaN where it has no point. */
  first: Float64Array;
  min: Float64Array;
  max: Float64Array;
  last: Float64Array;
  /** Smoothed value at the end of each column, where smoothing was asked for. */
  smooth: Float64Array | null;
  /** Columns with a NaN, an infinity, a negative one: counts. */
  marks: Mark[];
}

export interface Mark {
  column: number;
  kind: "nan" | "inf" | "ninf";
  count: number;
}

/** Count the columns that hold a point. */
export function filled(curve: Curve): number {
  let count = 0;
  for (let index = 0; index < curve.last.length; index += 1) if (curve.last[index] === curve.last[index]) count += 1;
  return count;
}

/** Find the least and greatest of curves; of robust ends, what lies outside the middle 98 % of columns is left out. */
export function ends(curves: readonly Curve[], robust: boolean): [number, number] | null {
  if (robust) {
    const values: number[] = [];
    for (const curve of curves) {
      for (let index = 0; index < curve.min.length; index += 1) {
        if (curve.min[index] === curve.min[index]) values.push(curve.min[index]!, curve.max[index]!);
      }
    }
    if (!values.length) return null;
    const sorted = Float64Array.from(values).sort();
    const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))]!;
    return [at(0.01), at(0.99)];
  }
  let low = Infinity;
  let high = -Infinity;
  for (const curve of curves) {
    for (let index = 0; index < curve.min.length; index += 1) {
      if (curve.min[index]! < low) low = curve.min[index]!;
      if (curve.max[index]! > high) high = curve.max[index]!;
    }
  }
  return low <= high ? [low, high] : null;
}

/** Count the columns of which a part lies outside of ends. */
export function outside(curves: readonly Curve[], low: number, high: number): number {
  let count = 0;
  for (const curve of curves) {
    for (let index = 0; index < curve.min.length; index += 1) {
      if (curve.min[index]! < low || curve.max[index]! > high) count += 1;
    }
  }
  return count;
}

/** Corners of a line through all four values of each column, in order: drawn, it covers what all points would. */
export function corners(curve: Curve, x: ArrayLike<number>): [Float64Array, Float64Array] {
  const across = new Float64Array(4 * x.length);
  const up = new Float64Array(4 * x.length);
  let size = 0;
  for (let index = 0; index < x.length; index += 1) {
    const last = curve.last[index]!;
    if (last !== last) continue;
    const first = curve.first[index]!;
    const low = curve.min[index]!;
    const high = curve.max[index]!;
    const column = x[index]!;
    // One point, or a flat column, needs one corner.
    const values = low === high ? [last] : [first, low, high, last];
    for (const value of values) {
      across[size] = column;
      up[size] = value;
      size += 1;
    }
  }
  return [across.subarray(0, size), up.subarray(0, size)];
}

/**
 * Upright spans of a crowded curve, as triples of x, top and bottom in pixels. Each reaches to the last value of the
 * column before it, so that the curve has no gaps.
 */
export function spans(curve: Curve, x: (index: number) => number, y: (value: number) => number): Float64Array {
  const size = curve.last.length;
  const out = new Float64Array(3 * size);
  let length = 0;
  let before = NaN;
  for (let index = 0; index < size; index += 1) {
    const last = curve.last[index]!;
    if (last !== last) continue;
    const low = Math.min(curve.min[index]!, before === before ? before : Infinity);
    const high = Math.max(curve.max[index]!, before === before ? before : -Infinity);
    out[length] = x(index);
    out[length + 1] = y(high);
    out[length + 2] = y(low);
    length += 3;
    before = last;
  }
  return out.subarray(0, length);
}

export interface Target {
  id: string;
  column: number;
  y: number;
}

/** How many columns a point may lie beside the pointer: close ones compete, farther ones stand in for none. */
const [close, far] = [4, 40];
/** How far from an edge a mark of NaN or of an infinity may be pointed at. */
const edge = 12;

/** Find the point nearest to a pixel, or the mark there. `up` tells the height of a value in pixels from the top. */
export function targetOf(curves: readonly Curve[], column: number, pixel: number, height: number, up: (value: number) => number): Target | null {
  const kinds = pixel >= height - edge ? ["nan", "ninf"] : pixel <= edge ? ["inf"] : [];
  for (const curve of curves) {
    const mark = curve.marks.find((one) => kinds.includes(one.kind) && Math.abs(one.column - column) <= close);
    if (mark) return { id: curve.id, column: mark.column, y: { nan: NaN, inf: Infinity, ninf: -Infinity }[mark.kind] };
  }
  let best: (Target & { away: number }) | null = null;
  for (const curve of curves) {
    const next = nearest(curve, column);
    if (next < 0 || Math.abs(next - column) > far) continue;
    for (const at of new Set([next, ...Array.from({ length: 2 * close + 1 }, (_, index) => column + index - close)])) {
      const [low, high] = [curve.min[at] ?? NaN, curve.max[at] ?? NaN];
      if (low !== low) continue;
      const away = Math.max(up(high) - pixel, pixel - up(low), 0) + Math.abs(at - column);
      if (!best || away < best.away) best = { id: curve.id, column: at, y: pixel < up(high) ? high : pixel > up(low) ? low : between(low, high, pixel, up), away };
    }
  }
  return best;
}

/** Find the value at a height between two, on whatever scale. */
function between(low: number, high: number, pixel: number, up: (value: number) => number): number {
  for (let turn = 0; turn < 50; turn += 1) {
    const middle = low + (high - low) / 2;
    if (up(middle) > pixel) low = middle;
    else high = middle;
  }
  return low;
}

/** Find the column nearest to one that holds a point, or -1. */
export function nearest(curve: Curve, column: number): number {
  const has = (index: number): boolean => curve.last[index] === curve.last[index];
  for (let away = 0; away < curve.last.length; away += 1) {
    if (column - away >= 0 && column - away < curve.last.length && has(column - away)) return column - away;
    if (column + away < curve.last.length && column + away >= 0 && has(column + away)) return column + away;
  }
  return -1;
}
