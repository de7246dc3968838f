/** New lines as they are logged: one stream of the server for all tabs of a browser, and none while no page is visible. */
import { signal } from "@preact/signals";
import { isFolder } from "./folder";
import { isFresh, root, short } from "./source";
import { union, type Message } from "./news";

export const connection = signal<"live" | "waiting" | "lost" | "off">("waiting");

type Post =
  | { kind: "watch"; tab: string; ids: readonly string[] }
  | { kind: "bye"; tab: string }
  | { kind: "who" }
  | { kind: "state"; state: "live" | "lost" }
  | { kind: "news"; message: Message };

const names = ["hello", "points", "stale", "changed", "index"] as const;
const retry = 3000;
const channel = isFolder ? null : new BroadcastChannel(`mlv ${root.pathname}${isFresh ? " logs" : ""}`);
const tab = `${Date.now()}.${Math.random()}`;
const listeners = new Set<(message: Message) => void>();

let mine: readonly string[] = [];
let isOn = false;
let stream: EventSource | null = null;
let asked = "";
let cursor = "";
let timer = 0;
let wish: AbortController | null = null;
let resign: (() => void) | null = null;
const watches = new Map<string, readonly string[]>();

/** Call a function with every message, until the answer is called. */
export function listen(listener: (message: Message) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Follow experiments, and no others, as long as this page is visible. */
export function watch(ids: readonly string[]): void {
  if (ids.join() === mine.join()) return;
  mine = ids;
  if (isOn) announce();
}

/** Follow or not: a page as of a moment does not. */
export function follow(on: boolean): void {
  wanted = on;
  turn();
}

let wanted = false;

function turn(): void {
  const on = wanted && document.visibilityState === "visible";
  if (on === isOn) {
    if (!on) connection.value = wanted ? "waiting" : "off";
    return;
  }
  isOn = on;
  if (on) begin();
  else end();
}

function begin(): void {
  announce();
  // Browsers allow six connections to a server: one tab holds the stream for all, and another takes over when it goes.
  // Where the address is no safe one there are no locks, and each tab holds its own.
  if (!navigator.locks || !channel) {
    lead();
    return;
  }
  wish = new AbortController();
  navigator.locks.request(channel.name, { signal: wish.signal }, () => new Promise<void>((resolve) => {
    resign = resolve;
    if (isOn) lead();
    else resolve();
  })).catch(() => undefined);
}

function end(): void {
  wish?.abort();
  stream?.close();
  stream = null;
  asked = "";
  clearTimeout(timer);
  watches.clear();
  resign?.();
  resign = null;
  isLeading = false;
  post({ kind: "bye", tab });
  connection.value = wanted ? "waiting" : "off";
}

let isLeading = false;

function lead(): void {
  isLeading = true;
  watches.set(tab, mine);
  post({ kind: "who" });
  connect();
}

function announce(): void {
  if (isLeading) {
    watches.set(tab, mine);
    soon();
  } else post({ kind: "watch", tab, ids: mine });
}

function post(message: Post): void {
  channel?.postMessage(message);
}

function hand(message: Message): void {
  for (const listener of listeners) listener(message);
}

function soon(pause = 30): void {
  clearTimeout(timer);
  timer = window.setTimeout(connect, pause);
}

function say(state: "live" | "lost"): void {
  connection.value = state;
  post({ kind: "state", state });
}

function connect(): void {
  if (!isLeading) return;
  const ids = union(watches).join(",");
  if (stream && stream.readyState !== EventSource.CLOSED && ids === asked) return;
  stream?.close();
  asked = ids;
  const url = new URL("api/live", root);
  if (ids) url.searchParams.set("watch", ids);
  if (cursor) url.searchParams.set("cursor", cursor);
  if (isFresh) url.searchParams.set("fresh", "1");
  const own = (stream = new EventSource(url));
  own.onopen = () => say("live");
  own.onerror = () => {
    if (own !== stream) return;
    say("lost");
    if (own.readyState !== EventSource.CLOSED) return;
    // Refused, perhaps for its cursor: a new one begins at the end of the log, and charts ask anew.
    cursor = "";
    soon(retry);
  };
  for (const name of names) {
    own.addEventListener(name, (event) => {
      if (own !== stream) return;
      cursor = event.lastEventId || cursor;
      const data = JSON.parse(event.data as string) as Record<string, unknown>;
      const message = { ...data, name, ...(typeof data.id === "string" ? { id: short(data.id) } : {}) } as Message;
      hand(message);
      post({ kind: "news", message });
    });
  }
}

if (channel) channel.onmessage = ({ data }: MessageEvent<Post>) => {
  if (isLeading && data.kind === "watch") {
    watches.set(data.tab, data.ids);
    if (stream) post({ kind: "state", state: stream.readyState === EventSource.OPEN ? "live" : "lost" });
    soon();
  } else if (isLeading && data.kind === "bye") {
    watches.delete(data.tab);
    soon();
  } else if (!isLeading && isOn && data.kind === "who") announce();
  else if (!isLeading && isOn && data.kind === "state") connection.value = data.state;
  else if (!isLeading && isOn && data.kind === "news") hand(data.message);
};

document.addEventListener("visibilitychange", turn);
addEventListener("pagehide", () => {
  if (isOn) end();
  isOn = false;
});
addEventListener("pageshow", turn);
