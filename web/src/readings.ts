/** Charts in words and as rows: their sentence, their counts, the names of their bands, and their points as CSV. */
import { ends, type Curve } from "./columns";
import { count, duration, groups, moment, number, plain } from "./format";
import type { Band } from "./source";

/** Say what a chart shows, for people who cannot see it: of bands their medians. */
export function sentence(metric: string, all: readonly Curve[], name: (id: string) => string, bands: readonly Band[] = []): string {
  const range = ends(all, false);
  if (!range) return `${metric}: no points.`;
  const names = bandNames(bands);
  const lasts = (bands.length ? bands.map((band, at) => ({ name: names[at]!, last: lastOf(band.p50) })) : all.map((curve) => ({ name: name(curve.id), last: lastOf(curve.last) })))
    .filter(({ last }) => last === last).sort((a, b) => a.last - b.last);
  const many = `${bands.length ? `${count(bands.length, "band")} of ` : ""}${count(all.length, "curve")} from ${number(range[0])} to ${number(range[1])}`;
  const [low, high] = [lasts[0], lasts[lasts.length - 1]];
  if (!low || !high) return `${metric}: ${many}.`;
  const [one, several] = bands.length ? ["its median ends", "their medians end"] : ["it ends", "they end"];
  return `${metric}: ${many}; ${lasts.length === 1 ? `${one} at ${number(low.last)}` : `${several} between ${number(low.last)} (${low.name}) and ${number(high.last)} (${high.name})`}.`;
}

/** Find the last value that is one, else NaN. */
export function lastOf(values: Float64Array): number {
  let at = values.length - 1;
  while (at >= 0 && values[at] !== values[at]) at -= 1;
  return values[at] ?? NaN;
}

/** Write the positions that a column stands for: whole steps, moments, spans of time, or where it begins. */
export function across(axis: string, grid: ArrayLike<number>, column: number, end: number): string {
  const [from, to] = [grid[column]!, grid[column + 1] ?? end];
  if (axis === "time") return moment(from);
  if (axis === "elapsed" || axis === "active") return `${axis} ${duration(from) || "0"}`;
  if (axis !== "step") return `${axis.replace(/^(at|metrics)\./, "")} ${number(from)}`;
  const [first, last] = [Math.ceil(from - 1e-9), column + 1 < grid.length ? Math.ceil(to - 1e-9) - 1 : Math.floor(to)];
  return `step ${last > first ? `${number(first)} … ${number(last)}` : number(last < first ? Math.round(from) : first)}`;
}

/** Count what a chart stands for. */
export function footer(all: readonly Curve[], bands: readonly Band[] = []): string {
  const sum = (key: "points" | "nan" | "inf" | "ninf" | "without"): number => all.reduce((total, curve) => total + (curve[key] ?? 0), 0);
  const infinite = sum("inf") + sum("ninf");
  const diverged = bands.reduce((total, band) => total + Math.max(0, ...band.diverged), 0);
  return [
    bands.length ? `${count(bands.length, "band")} of ${count(all.length, "curve")}` : count(all.length, "curve"),
    all.some((curve) => curve.of) ? `${groups(sum("points"))} of ${count(all.reduce((total, curve) => total + (curve.of ?? curve.points), 0), "point")}, extremes among them` : count(sum("points"), "point"), sum("nan") ? `${sum("nan")} NaN` : "", infinite ? `${infinite} infinite` : "",
    diverged ? `${diverged} diverged` : "", sum("without") ? `${count(sum("without"), "point")} at or below 0 of x, which a logarithm has not` : "",
  ].filter(Boolean).join(", ");
}

/** Name bands by the settings in which they differ. */
export function bandNames(bands: readonly Band[]): string[] {
  const keys = new Set(bands.flatMap((band) => Object.keys(band.settings)));
  const differing = [...keys].filter((key) => new Set(bands.map((band) => JSON.stringify(band.settings[key]))).size > 1);
  return bands.map((band) => {
    const words = differing.filter((key) => band.settings[key] != null).map((key) => `${key.replace(/^params\./, "")} ${plain(band.settings[key])}`);
    return words.join(", ") || "all";
  });
}
