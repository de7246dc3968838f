/** The view of this tab and what the server said: signals that all parts of the page read. */
import { computed, effect, signal } from "@preact/signals";
import { address, toggle, view as parse, type View } from "./address";
import { chosen, matching, sorted, tree } from "./rows";
import { follow, listen, watch } from "./live";
import { index, json, Refused, root, short, type Row } from "./source";

export const view = signal<View>(parse(location.pathname, location.search, location.hash));
export const rows = signal<ReadonlyMap<string, Row>>(new Map());
export const folder = signal("");
export const problem = signal("");
export const loading = signal(true);
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
  const url = new URL(address(next), root);
  if (url.href === location.href) return;
  if (replace) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
  view.value = next;
}

/** Make the address of a changed view, for links. */
export function link(patch: Partial<View>): string {
  return new URL(address({ ...view.value, ...patch }), root).href;
}

addEventListener("popstate", () => (view.value = parse(location.pathname, location.search, location.hash)));

export function pick(id: string): void {
  change({ pick: toggle(view.value.pick, id) });
}

export const all = computed(() => [...rows.value.values()]);
/** Moment of the newest line of all. */
export const newest = computed(() => all.value.reduce((latest, row) => Math.max(latest, row.age || 0), 0));
const filters = computed(() => JSON.stringify([view.value.q, view.value.archived]));
const order = computed(() => view.value.sort.join(","));
export const shown = computed(() => {
  filters.value;
  order.value;
  const { q, archived, sort } = view.peek();
  return sorted(matching(all.value, q, archived, allowed.value), sort);
});
const opened = computed(() => view.value.open.join(","));
export const lines = computed(() => {
  opened.value;
  return tree(shown.value, new Set(view.peek().open));
});
const asked = computed(() => view.value.cols.join(","));
export const cols = computed(() => {
  asked.value;
  const named = view.peek().cols;
  return named.length ? [...named] : chosen(all.value);
});
/** Metrics of the experiments shown, with how many have each. */
export const metrics = computed(() => {
  const counts = new Map<string, number>();
  for (const row of shown.value) for (const name in row.metrics) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts.keys()].sort((one, two) => one.localeCompare(two, "en", { numeric: true }));
});

// More would make one answer of the server too long to wait for; the chart's footer counts what it shows.
export const mostDrawn = 100;
/** Experiments that are drawn: those picked, then those shown, and how many are left out. */
export const drawnIds = computed(() => {
  const { pick, crowd } = view.value;
  const picked = pick.map((pick) => pick.id);
  const others = crowd || !picked.length ? shown.value.map((row) => row.id).filter((id) => !picked.includes(id)) : [];
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
      if (!answer.complete) pause = 50;
    }
  } catch (error) {
    problem.value = error instanceof Refused ? error.message : "The server does not answer. The page goes on asking.";
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
  follow(!moment.value);
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

setInterval(() => {
  if (document.visibilityState === "visible") now.value = Date.now() / 1000;
}, 5000);
