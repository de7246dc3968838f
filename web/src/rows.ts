/** Rows and columns of the list: their values, their order, and which are shown. */
import type { Brush, Pick, View } from "./address";
import { stats, type Row, type Stat } from "./source";

export interface Line {
  row: Row;
  depth: number;
  children: number;
  /** A head above rows that share a value; its row is the first of them. */
  group?: Group;
}

export interface Group {
  label: string;
  rows: readonly Row[];
}

const own: Record<string, (row: Row) => unknown> = {
  name: (row) => row.name, status: (row) => row.status, created: (row) => row.created, duration: (row) => row.duration,
  kind: (row) => row.kind, tags: (row) => row.tags.join(" "), path: (row) => row.path, id: (row) => row.id,
  notes: (row) => row.notes.map((note) => note.trim()).join(" · ") || undefined,
};

/** Look up the value of a column. */
export function cell(row: Row, column: string): unknown {
  if (column.startsWith("params.")) return held(row.params, column.slice(7));
  if (column.startsWith("metrics.")) {
    const name = column.slice(8);
    const whole = held(row.metrics, name);
    if (whole) return whole.value ?? undefined;
    const at = name.lastIndexOf(".");
    const stat = stats.find((one) => one === name.slice(at + 1));
    return stat ? (held(row.metrics, name.slice(0, at))?.[stat as Stat] ?? undefined) : undefined;
  }
  return held(own, column)?.(row);
}

/** Look up a name that an address may have made up: `constructor` and `__proto__`, which every object has, are none. */
function held<T>(values: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(values, name) ? values[name] : undefined;
}

/** Write the head of a column. */
export function title(column: string): string {
  return column.replace(/^(params|metrics|spark)\./, "");
}

/** Compare two values: numbers by size, before texts by their words and numbers, what is absent last. */
export function compare(one: unknown, two: unknown): number {
  if ((typeof one === "number") !== (typeof two === "number")) return typeof one === "number" ? -1 : 1;
  if (typeof one === "number" && typeof two === "number") {
    if (Number.isNaN(one) || Number.isNaN(two)) return Number(Number.isNaN(one)) - Number(Number.isNaN(two));
    return one - two;
  }
  return collator.compare(String(one), String(two));
}

const collator = new Intl.Collator("en", { numeric: true });

/** List every column that rows have. */
export function columns(rows: readonly Row[]): string[] {
  const params = new Set<string>();
  const metrics = new Set<string>();
  for (const row of rows) {
    for (const name in row.params) params.add(name);
    for (const name in row.metrics) metrics.add(name);
  }
  const sorted = (names: Set<string>, start: string): string[] => [...names].sort(collator.compare).map((name) => start + name);
  return [...Object.keys(own), ...sorted(params, "params."), ...sorted(metrics, "metrics.")];
}

/** List the params that differ among rows that have them, those with most values first. */
export function varied(rows: readonly Row[]): string[] {
  const values = new Map<string, Set<string>>();
  for (const row of rows) {
    for (const name in row.params) {
      const distinct = values.get(name) ?? new Set();
      if (distinct.size < 50) distinct.add(JSON.stringify(row.params[name]));
      values.set(name, distinct);
    }
  }
  return [...values].filter(([, distinct]) => distinct.size > 1).sort((a, b) => b[1].size - a[1].size).map(([name]) => name);
}

/** Choose columns where the reader did not: the params that differ, then a few metrics, the first with its curve. */
export function chosen(rows: readonly Row[]): string[] {
  const metrics = new Map<string, number>();
  for (const row of rows) {
    for (const name in row.metrics) if (!name.startsWith("system/")) metrics.set(name, (metrics.get(name) ?? 0) + 1);
  }
  const differing = varied(rows).slice(0, 5);
  const frequent = [...metrics].sort((a, b) => b[1] - a[1] || collator.compare(a[0], b[0])).slice(0, 4);
  const first = frequent.slice(0, 1).map(([name]) => `spark.${name}`);
  const notes = rows.some((row) => row.notes.length) ? ["notes"] : [];
  return ["name", "status", ...first, ...differing.map((name) => `params.${name}`), ...frequent.map(([name]) => `metrics.${name}`), "duration", "created", ...notes];
}

/** Check whether the value of a column lies in a range; what is absent does not. */
export function isWithin(value: unknown, { from, to }: Brush): boolean {
  if (value == null || Number.isNaN(value)) return false;
  const own = typeof value === "object" ? JSON.stringify(value) : value;
  // A column may have numbers and words: an end that reads as a number is one, but among words that read so as well.
  const [least, most] = [from, to].map((end) => (isNumeral(end) && (typeof own === "number" || !isNumeral(String(own))) ? Number(end) : end));
  return compare(own, least) >= 0 && compare(own, most) <= 0;
}

function isNumeral(text: string): boolean {
  return text.trim() !== "" && !Number.isNaN(Number(text));
}

/** Mark a range, in place of the one that its column has; a null takes that away. */
export function brushed(ranges: readonly Brush[], column: string, ends: readonly [string, string] | null): Brush[] {
  const others = ranges.filter((range) => range.column !== column);
  return ends ? [...others, { column, from: ends[0], to: ends[1] }] : others;
}

/** Keep the rows that match the words of a search. */
export function matching(rows: readonly Row[], q: string, archived: boolean, ids: ReadonlySet<string> | null, hidden?: ReadonlySet<string>, starred?: ReadonlySet<string>): Row[] {
  const words = q.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return rows.filter((row) => {
    if (!archived && (row.archived || hidden?.has(row.id))) return false;
    if (starred && !starred.has(row.id)) return false;
    if (ids && !ids.has(row.id)) return false;
    if (!words.length) return true;
    const text = `${row.name} ${row.path} ${row.id} ${row.status} ${row.kind} ${row.tags.join(" ")} ${row.notes.join(" ")} ${Object.entries(row.params).map(([name, value]) => `${name}=${String(value)}`).join(" ")}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
}

/** Order rows by columns; the newest comes first where nothing else decides. */
export function sorted(rows: readonly Row[], sort: readonly string[]): Row[] {
  const keys = [...sort, "-created"].map((key) => ({ column: key.replace(/^-/, ""), sign: key.startsWith("-") ? -1 : 1 }));
  // Values are looked up once a row, not once a comparison.
  const values = new Map(rows.map((row) => [row, keys.map((key) => cell(row, key.column))]));
  return [...rows].sort((one, two) => {
    const [a, b] = [values.get(one)!, values.get(two)!];
    for (let index = 0; index < keys.length; index += 1) {
      const [left, right] = [a[index], b[index]];
      if (left == null || right == null) {
        if ((left == null) !== (right == null)) return left == null ? 1 : -1;
        continue;
      }
      const order = compare(left, right) * keys[index]!.sign;
      if (order) return order;
    }
    return one.id < two.id ? -1 : 1;
  });
}

/** Put a row behind the others of its key. */
export function put(groups: Map<string, Row[]>, key: string, row: Row): void {
  const own = groups.get(key);
  if (own) own.push(row);
  else groups.set(key, [row]);
}

/** Arrange rows as a tree: children follow the parent that is open; one without a parent among the rows stands alone. */
export function tree(rows: readonly Row[], open: ReadonlySet<string>): Line[] {
  const ids = new Set(rows.map((row) => row.id));
  const children = new Map<string, Row[]>();
  const tops: Row[] = [];
  for (const row of rows) {
    if (row.parent && ids.has(row.parent) && row.parent !== row.id) put(children, row.parent, row);
    else tops.push(row);
  }
  const out: Line[] = [];
  const visit = (row: Row, depth: number): void => {
    const below = children.get(row.id) ?? [];
    out.push({ row, depth, children: below.length });
    if (open.has(row.id) && depth < 50) for (const child of below) visit(child, depth + 1);
  };
  for (const row of tops) visit(row, 0);
  return out;
}

/** Divide rows by the value of a column; groups are in the order of their values, and a folded one shows its head only. */
export function grouped(rows: readonly Row[], column: string, open: ReadonlySet<string>): Line[] {
  const groups = new Map<string, Row[]>();
  for (const row of rows) {
    const value = cell(row, column);
    const key = value == null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    put(groups, key, row);
  }
  const order = (one: [string, Row[]], two: [string, Row[]]): number => {
    if (!one[0] || !two[0]) return Number(!one[0]) - Number(!two[0]);
    return compare(cell(one[1][0]!, column), cell(two[1][0]!, column));
  };
  return [...groups].sort(order).flatMap(([label, own]): Line[] => [
    { row: own[0]!, depth: 0, children: 0, group: { label, rows: own } },
    ...(open.has(folded(label)) ? [] : tree(own, open)),
  ]);
}

/** Name a folded group among the open rows of an address. */
export function folded(label: string): string {
  return `=${label}`;
}

/** Mean and standard deviation of the numbers of a column, or null where a row has none. */
export function spread(rows: readonly Row[], column: string): { mean: number; deviation: number; count: number } | null {
  const values = rows.map((row) => cell(row, column)).filter((value): value is number => typeof value === "number" && Number.isFinite(value));
  if (!values.length) return null;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const deviation = values.length > 1 ? Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1)) : 0;
  return { mean, deviation, count: values.length };
}

/** Sort by a column next: ascending, then descending, then not. */
export function turned(sort: readonly string[], column: string): string[] {
  if (sort[0] === column) return [`-${column}`];
  if (sort[0] === `-${column}`) return [];
  return [column];
}

/** Find the slot of an experiment, or -1. */
export function slot(picks: readonly Pick[], id: string): number {
  return picks.find((pick) => pick.id === id)?.slot ?? -1;
}

/** Find the slot that an experiment is drawn with: on its own page it has a colour although nobody picked it. */
export function drawn(view: View, id: string): number {
  const mine = slot(view.pick, id);
  return view.exp && mine < 0 ? 0 : mine;
}

/** Check a name against patterns with stars; none match everything. */
export function named(name: string, patterns: View["m"]): boolean {
  if (!patterns.length) return true;
  return patterns.some((pattern) => new RegExp(`^${pattern.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/\\\*/g, ".*").replace(/\\\?/g, ".")}$`).test(name));
}
