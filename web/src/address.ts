/** The view of a reader, and the address that stands for it. */

/** What rows must have between two ends, as written: numbers by size, texts by their words. */
export interface Brush {
  column: string;
  from: string;
  to: string;
}

export interface Pick {
  id: string;
  /** Number of its colour, kept through filter, sort and reload. */
  slot: number;
}

export type Panel = "charts" | "compare" | "scatter" | "parallel" | "params" | "media" | "sql" | "code";
export type Tab = "overview" | "charts" | "media" | "console" | "events" | "files" | "system" | "code";
export const panels: readonly Panel[] = ["charts", "compare", "scatter", "parallel", "params", "media", "sql", "code"];
export const tabs: readonly Tab[] = ["overview", "charts", "media", "console", "events", "files", "system", "code"];

export interface View {
  /** Identifier of the experiment whose page this is; empty on the list. */
  exp: string;
  tab: Tab;
  where: string;
  /** Words that the name, tags or params of a row contain. */
  q: string;
  /** Names of columns, a minus before those that descend. */
  sort: readonly string[];
  /** Names of columns; empty lets the page choose. */
  cols: readonly string[];
  /** Columns that stay at the left while others scroll. */
  pin: readonly string[];
  /** Column by which the list is divided. */
  group: string;
  pick: readonly Pick[];
  /** Rows whose sub-experiments are shown. */
  open: readonly string[];
  archived: boolean;
  /** Show only those with the reader's star. */
  starred: boolean;
  asof: string;
  /** The list is read from the logs although there is a lake. */
  fresh: boolean;
  /** Patterns of metric names; empty stands for all. */
  m: readonly string[];
  x: string;
  y: "linear" | "log";
  /** The axis of x is logarithmic. */
  lx: boolean;
  /** Params over which experiments are pooled to bands. */
  over: readonly string[];
  smooth: number;
  zoom: readonly [number, number] | null;
  robust: boolean;
  /** Draw the experiments that nobody picked, in grey. */
  crowd: boolean;
  panel: Panel;
  /** Step of the media. */
  step: number | null;
  /** Patterns of names of media; empty stands for all. */
  media: readonly string[];
  /** Masks of images, and classes of them as mask/class, that are switched over. */
  masks: readonly string[];
  /** Columns of the scatter plot: x, y and colour. */
  axes: readonly string[];
  /** Ranges marked on the axes of parallel coordinates: rows outside are left out. */
  brush: readonly Brush[];
  sql: string;
  /** An event, as run.seq. */
  line: string;
  /** Type of the events shown, and words in them. */
  type: string;
  find: string;
}

export const start: View = {
  exp: "", tab: "overview", where: "", q: "", sort: [], cols: [], pin: [], group: "", pick: [], open: [], archived: false, starred: false, asof: "", fresh: false,
  m: [], x: "step", y: "linear", lx: false, over: [], smooth: 0, zoom: null, robust: false, crowd: true, panel: "charts", step: null, media: [], masks: [], axes: [], brush: [],
  sql: "", line: "", type: "", find: "",
};

/** Write text into a query so that people can read it: only what would end or change a value is escaped. */
export function escape(text: string): string {
  return encodeURIComponent(text).replace(/%(20|2F|2C|3A|40|24|3B|3D|5B|5D)/g, (whole, code: string) =>
    code === "20" ? "+" : decodeURIComponent(whole));
}

function list(values: readonly string[]): string {
  // A comma inside a name is escaped once more, so that it does not divide the list.
  return values.map((value) => value.replace(/[%,]/g, (sign) => encodeURIComponent(sign))).join(",");
}

function items(text: string): string[] {
  return text.split(",").filter((item) => item !== "").map(decoded);
}

function query(view: View): Record<string, string> {
  return {
    archived: view.archived ? "1" : "",
    asof: view.asof,
    axes: list(view.axes),
    brush: list(view.brush.map(({ column, from, to }) => [column, ...[from, to].map((end) => end.replace(/[%:]/g, encodeURIComponent))].join(":"))),
    cols: list(view.cols),
    crowd: view.crowd ? "" : "0",
    find: view.find,
    fresh: view.fresh ? "1" : "",
    group: view.group,
    line: view.line,
    lx: view.lx ? "1" : "",
    m: list(view.m),
    masks: list(view.masks),
    media: list(view.media),
    open: list(view.open),
    over: list(view.over),
    panel: view.panel === "charts" ? "" : view.panel,
    pick: view.pick.map((pick) => `${pick.id}.${pick.slot}`).join(","),
    pin: list(view.pin),
    q: view.q,
    robust: view.robust ? "1" : "",
    smooth: view.smooth ? String(view.smooth) : "",
    sort: list(view.sort),
    sql: view.sql,
    starred: view.starred ? "1" : "",
    step: view.step === null ? "" : String(view.step),
    type: view.type,
    where: view.where,
    x: view.x === "step" ? "" : view.x,
    y: view.y === "linear" ? "" : view.y,
    zoom: view.zoom ? view.zoom.join(",") : "",
  };
}

/** Write the address of a view, relative to the page's root: defaults are left out, names are in order. */
export function address(view: View): string {
  const parts = Object.entries(query(view)).filter(([, text]) => text !== "").map(([name, text]) => `${name}=${escape(text)}`);
  const path = view.exp ? `e/${encodeURIComponent(view.exp)}` : "";
  const hash = view.exp && view.tab !== "overview" ? `#${view.tab}` : "";
  return path + (parts.length ? `?${parts.join("&")}` : "") + hash;
}

/** Write the address of a view behind the # of a page in a folder, where nothing else may change. */
export function fragment(view: View): string {
  const [path, part] = address(view).split("#") as [string, string | undefined];
  return `#${path}${part ? `${path.includes("?") ? "&" : "?"}tab=${part}` : ""}`;
}

/** Read the view behind a #. */
export function fragmentView(hash: string): View {
  const [path = "", query = ""] = hash.replace(/^#/, "").split(/\?(.*)/s);
  return view(path, query, new URLSearchParams(query).get("tab") ?? "");
}

function number(text: string | undefined): number | null {
  const value = text ? Number(text) : NaN;
  return Number.isFinite(value) ? value : null;
}

function picks(text: string): Pick[] {
  const slots = new Set<number>();
  const ids = new Set<string>();
  return text.split(",").flatMap((item) => {
    const match = /^(.+)\.(\d{1,3})$/.exec(item);
    if (!match || ids.has(match[1]!) || slots.has(Number(match[2]))) return [];
    ids.add(match[1]!);
    slots.add(Number(match[2]));
    return [{ id: match[1]!, slot: Number(match[2]) }];
  });
}

function range(item: string): Brush[] {
  // The column may have colons, its ends have none.
  const [, column, from, to] = /^(.+):([^:]*):([^:]*)$/.exec(item) ?? [];
  return column && from && to ? [{ column, from: decoded(from), to: decoded(to) }] : [];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function choice<T extends string>(text: string, values: readonly T[], otherwise: T): T {
  return values.find((value) => value === text) ?? otherwise;
}

/** Read the view of an address; a value that makes no sense is passed over. */
export function view(path: string, search: string, hash = ""): View {
  const values = new URLSearchParams(search);
  const text = (name: string): string => values.get(name) ?? "";
  const match = /(?:^|\/)e\/([^/]+)\/?$/.exec(path);
  const zoom = text("zoom").split(",").map((item) => number(item));
  return {
    exp: match ? decoded(match[1]!) : "",
    tab: choice(hash.replace(/^#/, ""), tabs, "overview"),
    where: text("where"),
    q: text("q"),
    sort: items(text("sort")),
    cols: items(text("cols")),
    pin: items(text("pin")),
    group: text("group"),
    pick: picks(text("pick")),
    open: items(text("open")),
    archived: text("archived") === "1",
    starred: text("starred") === "1",
    asof: text("asof"),
    fresh: text("fresh") === "1",
    m: items(text("m")),
    x: text("x") || "step",
    y: choice(text("y"), ["linear", "log"] as const, "linear"),
    lx: text("lx") === "1",
    over: items(text("over")),
    smooth: Math.min(Math.max(number(text("smooth")) ?? 0, 0), 0.999),
    zoom: zoom.length === 2 && zoom[0] != null && zoom[1] != null && zoom[0] < zoom[1] ? [zoom[0], zoom[1]] : null,
    robust: text("robust") === "1",
    crowd: text("crowd") !== "0",
    panel: choice(text("panel"), panels, "charts"),
    step: number(text("step")),
    media: items(text("media")),
    masks: items(text("masks")),
    axes: items(text("axes")),
    brush: items(text("brush")).flatMap(range),
    sql: text("sql"),
    line: text("line"),
    type: text("type"),
    find: text("find"),
  };
}

/** Pick an experiment, or let it go. It takes the slot that its reader likes, or the first free one, and nobody else's colour changes. */
export function toggle(chosen: readonly Pick[], id: string, liked = 0): Pick[] {
  if (chosen.some((pick) => pick.id === id)) return chosen.filter((pick) => pick.id !== id);
  const taken = new Set(chosen.map((pick) => pick.slot));
  let slot = taken.has(liked) ? 0 : liked;
  while (taken.has(slot)) slot += 1;
  return [...chosen, { id, slot }];
}

/** Give a picked experiment the next colour that no other has. */
export function recolored(chosen: readonly Pick[], id: string): Pick[] {
  const taken = new Set(chosen.map((pick) => pick.slot));
  return chosen.map((pick) => {
    if (pick.id !== id) return pick;
    let slot = pick.slot;
    do slot = (slot + 1) % Math.max(10, taken.size + 1);
    while (taken.has(slot));
    return { id, slot };
  });
}
