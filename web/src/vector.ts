/** A chart as SVG, with the same columns that are drawn on the screen. */
import { corners, type Curve } from "./columns";
import type { Band } from "./source";

export interface Drawing {
  title: string;
  foot: string;
  width: number;
  height: number;
  ground: string;
  text: string;
  rule: string;
  grey: string;
  /** Marks of the axes: where, and in words. */
  x: readonly [number, string][];
  y: readonly [number, string][];
  grid: ArrayLike<number>;
  across: (x: number) => number;
  up: (y: number) => number;
  crowd: readonly Curve[];
  bands: readonly { band: Band; color: string; name: string }[];
  lines: readonly { curve: Curve; color: string; dash: readonly number[]; name: string }[];
}

const left = 58;
const top = 30;

/** Escape a text for XML; signs that XML lacks are left out. */
export function xml(text: string): string {
  return text.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "").replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
}

function round(value: number): string {
  return String(Math.round(value * 100) / 100);
}

/** Write a chart. */
export function svg(drawing: Drawing): string {
  const { width, height, grid } = drawing;
  const at = (x: number, y: number): string => `${round(left + x)} ${round(top + y)}`;
  const through = (values: Float64Array): string => points(values, grid, drawing.across, drawing.up, at);
  const whole = (curve: Curve): string => {
    if (curve.smooth) return through(curve.smooth);
    const [x, y] = corners(curve, grid);
    return points(y, x, drawing.across, drawing.up, at);
  };
  const path = (d: string, attributes: string): string => (d ? `<path d="${d}" ${attributes}/>` : "");
  const names = [...drawing.bands, ...drawing.lines].slice(0, 40);
  const below = top + height + 24;
  const rows = Math.ceil(names.length / 3);
  const legend = names.map((item, index) => {
    const [x, y] = [left + (index % 3) * (width / 3), below + 20 + Math.floor(index / 3) * 16];
    return `<circle cx="${round(x + 4)}" cy="${y - 4}" r="4" fill="${xml(item.color)}"/><text x="${round(x + 13)}" y="${y}">${xml(item.name)}</text>`;
  });
  const total = [left + width + 12, below + rows * 16 + 32];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${total[0]}" height="${total[1]}" viewBox="0 0 ${total[0]} ${total[1]}" font-family="system-ui, sans-serif" font-size="11" fill="${drawing.text}">`,
    `<title>${xml(drawing.title)}</title><rect width="100%" height="100%" fill="${drawing.ground}"/>`,
    `<text x="${left}" y="18" font-size="13" font-weight="600">${xml(drawing.title)}</text>`,
    `<clipPath id="inside"><rect x="${left}" y="${top}" width="${width}" height="${height}"/></clipPath>`,
    ...drawing.y.map(([y, text]) => `<path d="M${at(0, y)}h${width}" stroke="${drawing.rule}"/><text x="${left - 7}" y="${round(top + y + 4)}" text-anchor="end">${xml(text)}</text>`),
    ...drawing.x.map(([x, text]) => `<text x="${round(left + x)}" y="${top + height + 16}" text-anchor="middle">${xml(text)}</text>`),
    `<g clip-path="url(#inside)" fill="none" stroke-linejoin="round">`,
    ...drawing.crowd.map((curve) => path(whole(curve), `stroke="${drawing.grey}"`)),
    ...drawing.bands.map(({ band, color }) => path(area(band, grid, drawing, at), `fill="${color}" fill-opacity="0.2"`) + path(through(band.p50), `stroke="${color}" stroke-width="2"`)),
    ...drawing.lines.map(({ curve, color, dash }) => path(whole(curve), `stroke="${color}" stroke-width="1.5"${dash.length ? ` stroke-dasharray="${dash.join(" ")}"` : ""}`)),
    "</g>",
    ...legend,
    `<text x="${left}" y="${total[1]! - 10}" opacity="0.75">${xml(drawing.foot)}</text>`,
    "</svg>",
  ].filter(Boolean).join("\n");
}

type At = (x: number, y: number) => string;

function points(values: Float64Array, grid: ArrayLike<number>, across: (x: number) => number, up: (y: number) => number, at: At): string {
  const out: string[] = [];
  for (let index = 0; index < values.length; index += 1) if (values[index] === values[index]) out.push(at(across(grid[index]!), up(values[index]!)));
  return out.length ? `M${out.join("L")}` : "";
}

function area(band: Band, grid: ArrayLike<number>, drawing: Drawing, at: At): string {
  const low = points(band.p10, grid, drawing.across, drawing.up, at);
  const high = points(band.p90, grid, drawing.across, drawing.up, at);
  return low && high ? `${low}L${high.slice(1).split("L").reverse().join("L")}Z` : "";
}
