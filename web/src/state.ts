/** The view of this tab and what the server said: signals that all parts of the page read. */
import { computed, effect, signal } from "@preact/signals";
import { address, fragment, fragmentView, recolored, toggle, view as parse, type View } from "./address";
import { isFolder } from "./folder";
import { colors, hidden, keep, load, own, stars } from "./own";
import { cell, chosen, columns, grouped, isWithin, matching, slot, sorted, tree } from "./rows";
import { follow, listen, watch } from "./live";
import { index, json, Refused, root, short, type Lake, type Row } from "./source";

function current(): View {
  return isFolder ? fragmentView(location.hash) : parse(location.pathname, location.search, location.hash);
}

function addressOf(next: View): string {
  return isFolder ? fragment(next) : new URL(address(next), root).href;
}

export const view = signal<View>(current());
export const rows = signal<ReadonlyMap<string, Row>>(new Map());
export const folder = signal("");
export const problem = signal("");
export const loading = signal(true);
/** A folder whose disk does not answer. */
export const waiting = signal<{ folder: string; seconds: number } | null>(null);
/** The lake that the list is read from, or null where it is read from logs. */
export const lake = signal<Lake | null>(null);
export const hasLake = signal(false);
/** Identifiers that the filter lets through, or null without one. */
export const allowed = signal<ReadonlySet<string> | null>(null);
export const refusal = signal("");
export const now = signal(Date.now() / 1000);
/** Column of x under the pointer, shared by all charts; null outside. */
export const cursor = signal<number | null>(null);

const darkQuery = matchMedia("(prefers-color-scheme: dark)");
export const isDark = signal(darkQuery.matches);
darkQuery.addEventListener("change", () => (isDark.value = darkQuery.matches));

/** Change the view. `replace` keeps one step of Back for a change that goes on, such as typing. */
export function change(patch: Partial<View>, replace = false): void {
  const next = { ...view.value, ...patch };
  const url = addressOf(next);
  if (url === addressOf(view.value)) return;
  try {
    if (replace) history.replaceState(null, "", url);
    else history.pushState(null, "", url);
  } catch {
    // Inside a notebook's frame there is no history: the view is this page's alone.
  }
  view.value = next;
}

/** Make the address of a changed view, for links. */
export function link(patch: Partial<View>): string {
  return addressOf({ ...view.value, ...patch });
}

addEventListener("popstate", () => (view.value = current()));

export function pick(id: string): void {
  change({ pick: toggle(view.value.pick, id, colors.value.get(id)) });
}

export function recolor(id: string): void {
  const pick = recolored(view.value.pick, id);
  const whole = rows.value.get(id)?.whole;
  change({ pick });
  // Picked again another day, it has this colour where no other has it.
  if (whole && own.value?.writable) void keep("color", whole, slot(pick, id));
}

export const all = computed(() => [...rows.value.values()]);
/** Every column that an experiment has, and every param. */
export const columnNames = computed(() => columns(all.value));
export const paramNames = computed(() => columnNames.value.filter((name) => name.startsWith("params.")).map((name) => name.slice(7)));
/** Moment of the newest line of all. */
export const newest = computed(() => all.value.reduce((latest, row) => Math.max(latest, row.age || 0), 0));
const filters = computed(() => JSON.stringify([view.value.q, view.value.archived, view.value.starred]));
const order = computed(() => view.value.sort.join(","));
/** Rows that filter and search let through, whatever the ranges on their axes. */
export const passed = computed(() => {
  filters.value;
  order.value;
  const { q, archived, sort, starred } = view.peek();
  return sorted(matching(all.value, q, archived, allowed.value, hidden.value, starred ? stars.value : undefined), sort);
});
const ranges = computed(() => JSON.stringify(view.value.brush));
export const shown = computed(() => {
  ranges.value;
  const { brush } = view.peek();
  return brush.length ? passed.value.filter((row) => brush.every((range) => isWithin(cell(row, range.column), range))) : passed.value;
});
const opened = computed(() => JSON.stringify([view.value.open, view.value.group]));
export const lines = computed(() => {
  opened.value;
  const { open, group } = view.peek();
  return group ? grouped(shown.value, group, new Set(open)) : tree(shown.value, new Set(open));
});
const asked = computed(() => JSON.stringify([view.value.cols, view.value.pin]));
/** Columns shown, those that are pinned first. */
export const cols = computed(() => {
  asked.value;
  const { cols: named, pin } = view.peek();
  const choice = named.length ? named : chosen(all.value).filter((name) => !isTooFar.value || !name.startsWith("spark."));
  const pinned = ["name", ...pin.filter((name) => name !== "name" && choice.includes(name))];
  return [...pinned, ...choice.filter((name) => !pinned.includes(name))];
});
/** Metrics of the experiments shown, with how many have each. */
export const metrics = computed(() => {
  const counts = new Map<string, number>();
  for (const row of shown.value) for (const name in row.metrics) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts.keys()].sort((one, two) => one.localeCompare(two, "en", { numeric: true }));
});

// More would make one answer of the server too long to wait for; the chart's footer counts what it shows.
export const mostDrawn = 100;
/** Whether the logs of those shown are too many to be fetched from a bucket just to be drawn in grey. */
export const isTooFar = computed(() => (lake.value?.far ?? false) && (shown.value.length > mostDrawn || all.value.length < lake.value!.experiments));
/** Experiments that are drawn: those picked, then those shown, and how many are left out. */
export const drawnIds = computed(() => {
  const { pick, crowd } = view.value;
  const picked = pick.map((pick) => pick.id);
  const others = !isTooFar.value && (crowd || !picked.length) ? shown.value.map((row) => row.id).filter((id) => !picked.includes(id)) : [];
  const ids = [...picked, ...others.slice(0, Math.max(mostDrawn - picked.length, 0))];
  return { ids, left: picked.length + others.length - ids.length };
});
/** Experiments that are followed line by line: that of its page, or those drawn that run. */
export const watched = computed<ReadonlySet<string>>(() => {
  const { exp } = view.value;
  if (exp) return new Set([short(exp)]);
  return new Set(drawnIds.value.ids.filter((id) => rows.value.get(id)?.status === "running"));
});
effect(() => watch([...watched.value].sort()));

let mark = "";
let turn = 0;
let isAsking = false;
let isOwed = false;

/** Ask for the rows that changed since the last answer, and again while the server is still reading. */
async function refresh(): Promise<void> {
  // A question during another is put once more behind it, and not twice.
  isOwed = isAsking;
  if (isAsking) return;
  isAsking = true;
  let pause = -1;
  const mine = turn;
  try {
    const whole = mark === "";
    const answer = await index({ since: mark, asof: view.peek().asof });
    if (mine === turn) {
      mark = answer.cursor;
      folder.value = answer.root;
      if (answer.rows.length || answer.gone.length || whole || answer.reset) {
        const next = new Map(whole || answer.reset ? [] : rows.peek());
        for (const id of answer.gone) next.delete(id);
        for (const row of answer.rows) next.set(row.id, row);
        rows.value = next;
      }
      problem.value = "";
      waiting.value = answer.waiting;
      if (JSON.stringify(answer.lake) !== JSON.stringify(lake.peek())) lake.value = answer.lake;
      hasLake.value = answer.hasLake;
      if (answer.waiting) pause = 2000;
      else if (!answer.complete) pause = 50;
    }
  } catch (error) {
    problem.value = error instanceof Refused || isFolder ? (error as Error).message : "The server does not answer. The page goes on asking.";
    pause = 2000;
  }
  loading.value = false;
  isAsking = false;
  if (isOwed || mine !== turn) pause = 0;
  // While nobody looks nothing is asked, so nothing is read.
  if (pause >= 0 && document.visibilityState === "visible") setTimeout(() => void refresh(), pause);
}

/** How often each experiment has changed but for its points, since the page was opened. */
export const changes = signal<ReadonlyMap<string, number>>(new Map());

/** The same, points included. */
export const pulses = signal<ReadonlyMap<string, number>>(new Map());

function counted(counts: ReadonlyMap<string, number>, id: string): ReadonlyMap<string, number> {
  return new Map(counts).set(id, (counts.get(id) ?? 0) + 1);
}

listen((message) => {
  if (message.name === "index" || message.name === "hello") void refresh();
  if (message.name === "changed" || message.name === "stale") changes.value = counted(changes.peek(), message.id);
  if ("id" in message) pulses.value = counted(pulses.peek(), message.id);
});

const moment = computed(() => view.value.asof);
effect(() => {
  mark = "";
  turn += 1;
  follow(!moment.value && !isFolder);
  void refresh();
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") void refresh();
});

const condition = computed(() => view.value.where);
let asking: AbortController | null = null;
effect(() => {
  const where = condition.value;
  moment.value;
  asking?.abort();
  refusal.value = "";
  if (!where) {
    allowed.value = null;
    return;
  }
  const mine = (asking = new AbortController());
  json<{ ids: string[] }>("select", { where, asof: view.peek().asof }, mine.signal).then(
    (answer) => (allowed.value = new Set(answer.ids.map(short))),
    (error: Error) => {
      if (error.name !== "AbortError") refusal.value = error.message;
    },
  );
});

void load();

setInterval(() => {
  if (document.visibilityState === "visible") now.value = Date.now() / 1000;
}, 5000);
