/** Answers from a folder without a server: the exported page holds them as scripts. */
import type { Curve, Mark } from "./columns";

interface Logged {
  of: number;
  exact: boolean;
  nan: number;
  inf: number;
  ninf: number;
  /** Float64 in base64, equally long, in the order of logging; NaN where a point has no step. */
  step: string;
  time: string;
  y: string;
}

interface Kept {
  began: number | null;
  overview: Record<string, unknown>;
  metrics: { metrics: { name: string; points: number }[]; axes: string[] };
  events: { events: { type: string; run: string; seq: number }[] };
  console: { lines: { text: string }[] };
  media: Record<string, unknown>;
  verify: unknown;
  curves: Record<string, Logged>;
}

export interface Export {
  made: number;
  files: string;
  points: number;
  left_out: string[];
}

type Store = Record<string, unknown>;

declare global {
  interface Window {
    mlvStore?: Store;
  }
}

/** A sentence where an answer needs the server. */
export class NeedsServer extends Error {}

const isHere = typeof document !== "undefined";
export const isFolder = isHere && Boolean(document.documentElement.dataset.folder);

function store(): Store {
  return window.mlvStore ?? {};
}

export function exported(): Export | null {
  return isFolder ? ((store().index as { export?: Export } | undefined)?.export ?? null) : null;
}

const loads = new Map<string, Promise<void>>();

/** Find all digits of an identifier by its beginning. */
function whole(id: string): string {
  const ids = (store().index as { columns: { id: string[] } }).columns.id;
  const match = ids.find((one) => one.startsWith(id));
  if (!match) throw new NeedsServer(`No experiment of this page has an identifier that begins with ${id}.`);
  return match;
}

async function experiment(word: string): Promise<Kept> {
  const id = whole(word);
  const key = `exp/${id}`;
  if (!(key in store())) {
    const load = loads.get(id) ?? new Promise<void>((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(`data/${id}.js`, document.baseURI).href;
      script.onload = () => resolve();
      script.onerror = () => reject(new NeedsServer(`The data of ${id.slice(0, 8)} lie not beside this page: data/${id}.js is missing.`));
      document.head.append(script);
    });
    loads.set(id, load);
    await load;
  }
  return store()[key] as Kept;
}

/** Answer a question as the server would. */
export async function answer(path: string, query: Readonly<Record<string, string>>): Promise<unknown> {
  if (query.asof) throw new NeedsServer("A page in a folder knows the moment of its export only: leave asof out.");
  if (path === "index") return query.since ? { ...(store().index as object), n: 0, columns: {}, reset: false } : store().index;
  if (path === "metrics") {
    const kept = await Promise.all((query.ids ?? "").split(",").filter(Boolean).slice(0, 20).map(experiment));
    return { metrics: kept.flatMap((one) => one.metrics.metrics), axes: ["step", "time", "elapsed"] };
  }
  if (path === "sparks") {
    const curves: Record<string, number[]> = {};
    await Promise.all((query.ids ?? "").split(",").map(async (id) => {
      const logged = (await experiment(id)).curves[query.m ?? ""];
      if (logged) curves[whole(id)] = [...fold(floats(logged.step), floats(logged.y), 0, 0, 48, true).last].filter((value) => value === value);
    }));
    return { m: query.m, curves };
  }
  const match = /^exp\/([0-9a-f]+)(?:\/(\w+))?$/.exec(path);
  if (!match) throw new NeedsServer(`${{ select: "A filter by SQL", sql: "SQL", code: "Code", compare: "To compare", own: "To keep things" }[path] ?? path} needs the server: mlv ui.`);
  const kept = await experiment(match[1]!);
  const part = match[2] ?? "overview";
  const words = (query.q ?? "").toLowerCase();
  const types = (query.type ?? "").split(",").filter(Boolean);
  if (part === "events") {
    return { events: kept.events.events.filter((event) => (!types.length || types.includes(event.type)) && (!words || JSON.stringify(event).toLowerCase().includes(words))), before: null };
  }
  if (part === "console") return { lines: kept.console.lines.filter((line) => line.text.toLowerCase().includes(words)), before: null };
  if (part === "media") return kept.media[`${query.type} ${query.name}`] ?? { items: [] };
  if (part === "verify") return kept.verify;
  if (part === "overview") return kept.overview;
  throw new NeedsServer("A line of the log needs the server: mlv ui.");
}

function unpacked(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
}

export function floats(base64: string): Float64Array {
  return new Float64Array(unpacked(base64).buffer);
}

type Columns = Pick<Curve, "first" | "min" | "max" | "last" | "smooth" | "marks" | "points" | "nan" | "inf" | "ninf">;

/** Put points into columns as the server does: first, least, greatest and last of each, and what is no number as marks. */
export function fold(x: ArrayLike<number>, y: ArrayLike<number>, from: number, to: number, columns: number, isWhole = false, smooth = 0, isLog = false): Columns {
  if (isWhole) [from, to] = range([x]) ?? [0, 1];
  const empty = (): Float64Array => new Float64Array(columns).fill(NaN);
  const out: Columns = { first: empty(), min: empty(), max: empty(), last: empty(), smooth: smooth ? empty() : null, marks: [], points: 0, nan: 0, inf: 0, ninf: 0 };
  const place = (value: number): number => (isLog ? Math.log(value / from) / Math.log(to / from) : (value - from) / (to - from || 1));
  const order = Array.from({ length: x.length }, (_, at) => at).filter((at) => Number.isFinite(x[at])).sort((one, two) => x[one]! - x[two]! || one - two);
  const line = smooth ? smoothed(order.filter((at) => Number.isFinite(y[at])).map((at) => [x[at]!, y[at]!] as const), smooth) : [];
  const marks = new Map<string, Mark>();
  let finite = -1;
  for (const at of order) {
    const value = y[at]!;
    if (Number.isFinite(value)) finite += 1;
    if (x[at]! < from || x[at]! > to || (isLog && x[at]! <= 0)) continue;
    const column = Math.min(Math.floor(place(x[at]!) * columns), columns - 1);
    out.points += 1;
    if (!Number.isFinite(value)) {
      const kind = Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "ninf";
      out[kind] += 1;
      const mark = marks.get(`${column}${kind}`) ?? { column, kind, count: 0 };
      mark.count += 1;
      marks.set(`${column}${kind}`, mark);
      continue;
    }
    if (out.last[column] !== out.last[column]) out.first[column] = out.min[column] = out.max[column] = value;
    out.min[column] = Math.min(out.min[column]!, value);
    out.max[column] = Math.max(out.max[column]!, value);
    out.last[column] = value;
    if (out.smooth) out.smooth[column] = line[finite]!;
  }
  out.marks = [...marks.values()];
  return out;
}

/** Moving average by the distance of points, without the bias of its beginning. */
export function smoothed(points: readonly (readonly [number, number])[], weight: number): number[] {
  const last = points[points.length - 1];
  if (!last) return [];
  const mean = points.length > 1 ? (last[0] - points[0]![0]) / (points.length - 1) : 0;
  let [sum, share] = [0, 0];
  return points.map(([x, y], at) => {
    const gap = at ? x - points[at - 1]![0] : 0;
    const kept = at === 0 ? weight : weight ** (mean > 0 && gap > 0 ? gap / mean : 1);
    sum = kept * sum + (1 - kept) * y;
    share = kept * share + (1 - kept);
    return share > 0 ? sum / share : y;
  });
}

function range(all: readonly ArrayLike<number>[], isLog = false): [number, number] | null {
  let [low, high] = [Infinity, -Infinity];
  for (const values of all) {
    for (let at = 0; at < values.length; at += 1) {
      if (!Number.isFinite(values[at]) || (isLog && values[at]! <= 0)) continue;
      low = Math.min(low, values[at]!);
      high = Math.max(high, values[at]!);
    }
  }
  if (low > high) return null;
  return low < high ? [low, high] : isLog ? [low / 2, high * 2] : [low - 0.5, high + 0.5];
}

export interface Chart {
  from: number;
  to: number;
  curves: ({ id: string; ends: [number, number] | null; of: number; exact: boolean; without: number } & Columns)[];
}

async function points(id: string, metric: string, axis: string): Promise<{ logged: Logged | undefined; x: Float64Array; y: Float64Array }> {
  const kept = await experiment(id);
  const logged = kept.curves[metric];
  const none = new Float64Array();
  if (!logged) return { logged, x: none, y: none };
  if (axis !== "step" && axis !== "time" && axis !== "elapsed") throw new NeedsServer(`x by ${axis} needs the server: mlv ui.`);
  const time = axis === "step" ? none : floats(logged.time);
  return { logged, x: axis === "step" ? floats(logged.step) : axis === "time" ? time : time.map((moment) => moment - (kept.began ?? NaN)), y: floats(logged.y) };
}

/** Draw curves as the server would, from the points that the export has. */
export async function chart(query: { ids: readonly string[]; metric: string; x: string; zoom: readonly [number, number] | null; columns: number; smooth: number; isLog: boolean; over: string }): Promise<Chart> {
  if (query.over) throw new NeedsServer("Bands need the server: mlv ui.");
  const all = await Promise.all(query.ids.map((id) => points(id, query.metric, query.x)));
  const [from, to] = query.zoom ?? range(all.map((one) => one.x), query.isLog) ?? [0, 1];
  const curves = all.map(({ logged, x, y }, at) => ({
    id: whole(query.ids[at]!), ends: range([x]), of: logged?.of ?? 0, exact: logged?.exact ?? true, without: query.isLog && !query.zoom ? x.filter((value) => value <= 0).length : 0, ...fold(x, y, from, to, query.columns, false, query.smooth, query.isLog),
  }));
  return { from, to, curves };
}

/** Write the points that the export has as CSV. */
export async function csv(ids: readonly string[], metric: string, axis: string, name: (id: string) => string): Promise<string> {
  const quoted = (text: string): string => (/[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
  const lines = [`experiment,id,${quoted(axis)},value`];
  for (const id of ids) {
    const { x, y } = await points(id, metric, axis);
    y.forEach((value, at) => lines.push(`${quoted(name(id))},${whole(id)},${x[at]},${value}`));
  }
  return `${lines.join("\n")}\n`;
}

/** Read a file that lies inside the page: those beside it no script may read. */
export function bytes(address: string): Uint8Array {
  const content = /^data:[^,]*;base64,(.*)$/s.exec(address)?.[1];
  if (content === undefined) throw new NeedsServer("To draw a mask needs the server: mlv ui.");
  return unpacked(content);
}

/** Address of a file beside the page, or inside it. */
export function file(id: string, path: string): string {
  const own = store()[`file/${whole(id)}/${path}`];
  return typeof own === "string" ? own : `files/${whole(id)}/${path.split("/").map(encodeURIComponent).join("/")}`;
}
