/** Questions to the server. */
import type { Curve, Mark } from "./columns";
import { answer as folderAnswer, chart as folderChart, bytes as folderBytes, file as folderFile, isFolder } from "./folder";

/** Address below which everything lies: the folder above the one of this script, which names it only while it begins. */
export const root = new URL("..", (globalThis.document?.currentScript as HTMLScriptElement | null)?.src || "http://localhost/static/page.js");

/** Whether this page shows the logs although there is a lake: its address says so, and another one is another page. */
export const isFresh = new URLSearchParams(globalThis.location?.search ?? "").get("fresh") === "1";

const fresh: Record<string, string> = isFresh ? { fresh: "1" } : {};

/** An answer that is none: its message is a sentence for people. */
export class Refused extends Error {}

async function ask(path: string, query: Record<string, string>, signal?: AbortSignal): Promise<Response> {
  const url = new URL(`api/${path}`, root);
  for (const [name, value] of Object.entries({ ...query, ...fresh })) if (value !== "") url.searchParams.set(name, value);
  const answer = await fetch(url, signal ? { signal } : {});
  if (answer.ok) return answer;
  const message = await answer.json().then((body: { error?: string }) => body.error, () => undefined);
  throw new Refused(message ?? `The server answered ${answer.status} to ${path}.`);
}

export async function json<T>(path: string, query: Record<string, string> = {}, signal?: AbortSignal): Promise<T> {
  return (isFolder ? folderAnswer(path, query) : (await ask(path, query, signal)).json()) as Promise<T>;
}

/** Send a thing to be kept; the answer is what is kept now. */
export async function send<T>(path: string, body: unknown): Promise<T> {
  const answer = await fetch(new URL(`api/${path}`, root), { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
  const content = (await answer.json().catch(() => ({}))) as T & { error?: string };
  if (!answer.ok) throw new Refused(content.error ?? `The server answered ${answer.status} to ${path}.`);
  return content;
}

/** Cut an identifier to what an address holds: 48 bits, so that ten thousand of them do not meet. */
export function short(id: string): string {
  return id.slice(0, 12);
}

export interface Row {
  id: string;
  /** All of its digits. */
  whole: string;
  name: string;
  path: string;
  kind: string;
  parent: string | null;
  created: number;
  status: string;
  /** Moment of the newest line, in seconds since 1970. */
  age: number;
  duration: number;
  tags: readonly string[];
  notes: readonly string[];
  archived: boolean;
  /** Why it could not be read. */
  error: string;
  params: Record<string, unknown>;
  metrics: Record<string, Record<Stat, number | null>>;
}

/** Numbers that the list has of each metric; the value is the one that the metric's statistic chooses, the last without one. */
export const stats = ["value", "last", "min", "max", "mean", "count", "nans"] as const;
export type Stat = (typeof stats)[number];

/** The lake that the list is read from. */
export interface Lake {
  url: string;
  /** Moment from before which all lines are in it, in seconds since 1970. */
  as_of: number;
  /** Logs are in a bucket: each that is drawn is fetched first. */
  far: boolean;
  /** How many it has. */
  experiments: number;
  /** Why it cannot be read any more. */
  problem: string | null;
}

export interface Index {
  cursor: string;
  root: string;
  /** Experiments are still being read: ask again at once. */
  complete: boolean;
  /** Rows of former answers no longer count. */
  reset: boolean;
  /** A folder whose disk does not answer. */
  waiting: { folder: string; seconds: number } | null;
  gone: string[];
  lake: Lake | null;
  /** There is one, whether the list is read from it or not. */
  hasLake: boolean;
  rows: Row[];
}

interface IndexAnswer {
  cursor: string;
  root: string;
  complete?: boolean;
  reset?: boolean;
  gone?: string[];
  waiting?: { folder: string; seconds: number } | null;
  lake?: Lake;
  has_lake?: boolean;
  n: number;
  columns: {
    params?: Record<string, unknown[]>;
    metrics?: Record<string, Partial<Record<Stat, (number | string | null)[]>>>;
  } & Record<string, unknown>;
}

/** Read a number that JSON may only have as text. */
export function float(value: unknown): number | null {
  return typeof value === "number" ? value : typeof value === "string" && value !== "" ? Number(value) : null;
}

export async function index(query: { since?: string; asof?: string }): Promise<Index> {
  const answer = await json<IndexAnswer>("index", { since: query.since ?? "", asof: query.asof ?? "" });
  return { cursor: answer.cursor, root: answer.root, complete: answer.complete ?? true, reset: answer.reset ?? false, waiting: answer.waiting ?? null, gone: (answer.gone ?? []).map(short), lake: answer.lake ?? null, hasLake: answer.has_lake ?? false, rows: rows(answer) };
}

/** Turn columns into rows. */
export function rows(answer: IndexAnswer): Row[] {
  const column = <T>(name: string): T[] => (answer.columns[name] as T[] | undefined) ?? [];
  const params = Object.entries(answer.columns.params ?? {});
  const metrics = Object.entries(answer.columns.metrics ?? {});
  return Array.from({ length: answer.n }, (_, at): Row => ({
    id: short(column<string>("id")[at]!),
    whole: column<string>("id")[at]!,
    name: column<string>("name")[at] ?? "",
    path: column<string>("path")[at] ?? "",
    kind: column<string>("kind")[at] ?? "",
    parent: short(column<string | null>("parent")[at] ?? "") || null,
    created: column<number>("created")[at] ?? NaN,
    status: column<string>("status")[at] ?? "",
    age: column<number>("age")[at] ?? NaN,
    duration: column<number>("duration")[at] ?? NaN,
    tags: column<string[]>("tags")[at] ?? [],
    notes: column<string[]>("notes")[at] ?? [],
    archived: column<boolean>("archived")[at] ?? false,
    error: column<string | null>("error")[at] ?? "",
    params: Object.fromEntries(params.flatMap(([name, values]) => (values[at] == null ? [] : [[name, values[at]]]))),
    metrics: Object.fromEntries(metrics.flatMap(([name, values]) => {
      const value = float(values.value?.[at] ?? values.last?.[at]);
      return value === null ? [] : [[name, Object.fromEntries(stats.map((stat) => [stat, stat === "value" ? value : float(values[stat]?.[at])])) as Record<Stat, number | null>]];
    })),
  }));
}

export interface CurveQuery {
  ids: readonly string[];
  metric: string;
  x: string;
  zoom: readonly [number, number] | null;
  columns: number;
  smooth: number;
  /** Columns are equally wide in the logarithm of x. */
  isLog: boolean;
  /** Params over which experiments are pooled to bands. */
  over: string;
  asof: string;
}

export interface Band {
  members: string[];
  settings: Record<string, unknown>;
  /** Members with a value in a column; those whose value there is none. */
  count: Float64Array;
  diverged: Float64Array;
  p10: Float64Array;
  p50: Float64Array;
  p90: Float64Array;
  min: Float64Array;
  max: Float64Array;
}

export interface CurveAnswer {
  from: number;
  to: number;
  /** Where each column begins. */
  x: Float64Array;
  curves: Curve[];
  bands: Band[];
}

export async function curves(query: CurveQuery, signal?: AbortSignal): Promise<CurveAnswer> {
  if (isFolder) {
    const drawn = await folderChart(query);
    return {
      from: drawn.from, to: drawn.to, x: starts(drawn.from, drawn.to, query.columns, query.isLog), bands: [],
      curves: drawn.curves.map(({ id, of, exact, ...curve }): Curve => ({ ...curve, id: short(id), metric: query.metric, ...(exact ? {} : { of }) })),
    };
  }
  const answer = await ask("curves", {
    ids: query.ids.join(","), m: query.metric, x: query.x, from: query.zoom ? String(query.zoom[0]) : "", to: query.zoom ? String(query.zoom[1]) : "",
    px: String(query.columns), smooth: query.smooth ? String(query.smooth) : "", log: query.isLog ? "1" : "", over: query.over, asof: query.asof,
  }, signal);
  return decode(await answer.arrayBuffer(), !query.zoom);
}

/** Write the address of a file of an experiment. */
export function fileAddress(id: string, path: string): string {
  if (isFolder) return folderFile(id, path);
  const url = new URL(`api/exp/${id}/file`, root);
  for (const [name, value] of Object.entries({ path, ...fresh })) url.searchParams.set(name, value);
  return url.href;
}

/** Read a file of an experiment whole. */
export async function fileBytes(id: string, path: string, signal?: AbortSignal): Promise<Uint8Array> {
  if (isFolder) return folderBytes(fileAddress(id, path));
  return new Uint8Array(await (await ask(`exp/${id}/file`, { path }, signal)).arrayBuffer());
}

/** Write the address of all points of a chart as CSV. */
export function pointsAddress(ids: readonly string[], metric: string, x: string, asof: string): string {
  const url = new URL("api/csv", root);
  for (const [name, value] of Object.entries({ ids: ids.join(","), m: metric, x, asof, ...fresh })) if (value) url.searchParams.set(name, value);
  return url.href;
}

interface Header {
  m: string;
  from: number;
  to: number;
  n: number;
  log?: boolean;
  curves: { id: string; points: number; of?: number; nan?: number; inf?: number; ninf?: number; x0?: number; x1?: number; arrays: string[]; marks?: [number, Mark["kind"], number][] }[];
  bands?: { members: string[]; settings: Record<string, unknown>; arrays: string[] }[];
}

/** Read an answer: the length of a header, the header, then columns of 64-bit floats. */
export function decode(buffer: ArrayBuffer, isWhole = false): CurveAnswer {
  const size = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, size))) as Header;
  let offset = 4 + size;
  const blocks = (names: readonly string[]): Record<string, Float64Array> => Object.fromEntries(names.map((name) => {
    const values = new Float64Array(buffer, offset, header.n);
    offset += 8 * header.n;
    return [name, values];
  }));
  const empty = new Float64Array(header.n).fill(NaN);
  const curves = header.curves.map((item): Curve => {
    const arrays = blocks(item.arrays);
    const last = arrays.last ?? empty;
    return {
      id: short(item.id), metric: header.m, points: item.points, nan: item.nan ?? 0, inf: item.inf ?? 0, ninf: item.ninf ?? 0,
      ends: item.x0 == null || item.x1 == null ? null : [item.x0, item.x1],
      first: arrays.first ?? last, min: arrays.min ?? last, max: arrays.max ?? last, last, smooth: arrays.smooth ?? null,
      // Of the whole range all points are in columns but those that a logarithm has not.
      without: header.log && isWhole ? (item.of ?? item.points) - item.points : 0,
      marks: (item.marks ?? []).map(([column, kind, count]) => ({ column, kind, count })),
    };
  });
  const bands = (header.bands ?? []).map((item): Band => {
    const { count = empty, diverged = empty, p10 = empty, p50 = empty, p90 = empty, min = empty, max = empty } = blocks(item.arrays);
    return { members: item.members.map(short), settings: item.settings, count, diverged, p10, p50, p90, min, max };
  });
  return { from: header.from, to: header.to, x: starts(header.from, header.to, header.n, header.log ?? false), curves, bands };
}

/** List where the columns of a range begin. */
export function starts(from: number, to: number, columns: number, isLog: boolean): Float64Array {
  return Float64Array.from({ length: columns }, (_, at) => (isLog ? from * (to / from) ** (at / columns) : from + (at * (to - from)) / columns));
}
