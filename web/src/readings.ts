/** Charts in words and as rows: their sentence, their counts, the names of their bands, and their points as CSV. */
import { ends, nearest, type Curve } from "./columns";
import { count, groups, number, plain } from "./format";
import type { Band } from "./source";

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
