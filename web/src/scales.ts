/** Axes: where values lie between two ends, and which marks stand at them. */
import { number } from "./format";
import { compare } from "./rows";

export interface Axis {
  /** Share between the ends, 0 to 1, or NaN of what the axis has not. */
  at: (value: unknown) => number;
  /** The value at a share, as an address writes it: a number in few digits, or the nearest word. */
  text: (share: number) => string;
  /** The share of a value that an address writes. */
  of: (text: string) => number;
  marks: { at: number; label: string }[];
  kind: "linear" | "log" | "arcsinh";
}

/** Choose round numbers between two ends, about as many as asked for. */
export function steps(low: number, high: number, many: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(many, 1);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough)!;
  const out: number[] = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at += 1) out.push(Number((at * step).toPrecision(12)));
  return out;
}

/** Powers of ten, and where these are few also 2 and 5. */
export function powers(low: number, high: number): number[] {
  const out: number[] = [];
  const few = Math.log10(high / low) < 3;
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const factor of few ? [1, 2, 5] : [1]) {
      const value = Number((factor * 10 ** power).toPrecision(12));
      if (value >= low * 0.999 && value <= high * 1.001) out.push(value);
    }
  }
  const stride = Math.ceil(out.length / 9);
  return out.length ? out.filter((_, at) => at % stride === 0) : [low];
}

/** Choose marks of an arcsinh axis: zero, and powers of ten on either side from where it stops being linear. */
export function arcsinhMarks(low: number, high: number, linear: number): number[] {
  const side = (end: number): number[] => {
    const all = end > linear ? powers(linear, end).filter((value) => value >= linear) : [];
    // Marks close to zero lie close together; the greatest ones stay.
    const stride = Math.ceil(all.length / 4);
    return all.filter((_, at) => (all.length - 1 - at) % stride === 0);
  };
  const marks = [...side(-low).reverse().map((value) => -value), ...(low <= 0 && high >= 0 ? [0] : []), ...side(high)].filter((value) => value >= low && value <= high);
  return marks.length > 1 ? marks : steps(low, high, 4);
}

/** Write the marks of an axis: short, and with as many digits as tell them apart. */
export function markWords(splits: readonly (number | null)[]): string[] {
  const present = splits.filter((value): value is number => value !== null);
  const largest = Math.max(0, ...present.map(Math.abs));
  const [size, unit] = ([[1e15, "e15"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]] as const).find(([least]) => largest >= least * (least === 1e3 ? 100 : 1)) ?? [1, ""];
  const gap = Math.min(...present.slice(1).map((value, at) => Math.abs(value - present[at]!)).filter((value) => value > 0));
  const isEven = present.length > 2 && Math.abs(present[2]! - present[1]! - present[1]! + present[0]!) < gap * 1e-6;
  // Uneven marks are those of a logarithm, each of a size of its own.
  if (!isEven || largest >= 1e15 || largest < 1e-3) return splits.map((value) => (value === null ? "" : number(value, 3)));
  let decimals = 0;
  const isExact = (value: number): boolean => Math.abs((value / size) * 10 ** decimals - Math.round((value / size) * 10 ** decimals)) < 1e-3 * (gap / size) * 10 ** decimals;
  while (decimals < 8 && !present.every(isExact)) decimals += 1;
  return splits.map((value) => (value === null ? "" : `${(value / size).toFixed(decimals).replace("-", "−").replace(/^−(0(\.0+)?)$/, "$1")}${value === 0 ? "" : unit}`));
}

/** Write moments of an axis as finely as they lie apart. */
export function momentWords(splits: readonly (number | null)[]): string[] {
  const present = splits.filter((value): value is number => value !== null);
  const gap = present.length > 1 ? present[1]! - present[0]! : 60;
  const two = (value: number): string => String(value).padStart(2, "0");
  return splits.map((value) => {
    if (value === null) return "";
    const date = new Date(value * 1000);
    const day = `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
    if (gap >= 28 * 86400) return `${date.getFullYear()}-${two(date.getMonth() + 1)}`;
    if (gap >= 86400) return day;
    if (gap >= 60) return clock === "00:00" ? day : clock;
    return `${clock}:${two(date.getSeconds())}`;
  });
}

/** Make an axis for values: of numbers by their size, of anything else by their order. Of a logarithm that cannot be it becomes arcsinh. */
export function axis(values: readonly unknown[], isLog: boolean, many = 6): Axis {
  const present = values.filter((value) => value != null);
  if (present.length && present.every((value) => typeof value === "number")) return numeric(present.filter(Number.isFinite), isLog, many);
  const words = [...new Map(present.map((value) => [word(value), typeof value === "object" ? word(value) : value]))].sort((one, two) => compare(one[1], two[1])).map(([text]) => text);
  const at = (value: unknown): number => (value == null ? NaN : words.length > 1 ? words.indexOf(word(value)) / (words.length - 1) : 0.5);
  return {
    at, kind: "linear", of: (text) => at(text), text: (share) => words[Math.min(Math.max(Math.round(share * (words.length - 1)), 0), words.length - 1)] ?? "",
    marks: words.length <= 20 ? words.map((label) => ({ at: at(label), label })) : [],
  };
}

function numeric(values: readonly number[], isLog: boolean, many: number): Axis {
  const [low, high] = [least(values), -least(values.map((value) => -value))];
  const kind = !isLog || !values.length ? "linear" : low > 0 ? "log" : "arcsinh";
  // Below the least size that is not zero there is nothing to spread out.
  const linear = Math.max(least(values.map(Math.abs).filter((size) => size > 0)), Math.max(-low, high) / 1e6);
  const bent = { linear: (value: number) => value, log: Math.log10, arcsinh: (value: number) => Math.asinh(value / linear) }[kind];
  const back = { linear: (value: number) => value, log: (value: number) => 10 ** value, arcsinh: (value: number) => Math.sinh(value) * linear }[kind];
  const [begin, wide] = [bent(low), bent(high) - bent(low)];
  const at = (value: unknown): number => (typeof value === "number" && Number.isFinite(value) ? (wide > 0 ? (bent(value) - begin) / wide : 0.5) : NaN);
  const marks = !values.length ? [] : { linear: () => steps(low, high, many), log: () => powers(low, high), arcsinh: () => arcsinhMarks(low, high, linear) }[kind]();
  return { at, kind, of: (text) => at(Number(text)), text: (share) => String(share <= 0 ? low : share >= 1 ? high : Number(back(begin + share * wide).toPrecision(4))), marks: marks.map((value) => ({ at: at(value), label: number(value, 3) })) };
}

// Spread into arguments, ten thousands of values would be too many for a call.
function least(values: readonly number[]): number {
  return values.reduce((one, two) => Math.min(one, two), Infinity);
}

function word(value: unknown): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Trace values in a box: gaps where there is none. */
export function trace(y: readonly (number | null)[], width: number, height: number): string {
  const finite = y.filter((value): value is number => value !== null && Number.isFinite(value));
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  let open = false;
  return y.map((value, at) => {
    if (value === null || !Number.isFinite(value)) return "";
    const across = y.length > 1 ? (at / (y.length - 1)) * width : 0;
    const up = high > low ? height - ((value - low) / (high - low)) * height : height / 2;
    const command = open ? "L" : "M";
    open = true;
    return `${command}${across.toFixed(1)} ${up.toFixed(1)}`;
  }).join("");
}
