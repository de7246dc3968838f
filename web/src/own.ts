/** The reader's own things: stars, hidden experiments, notes, colours, views and the width of the list, kept as lines of a file of the reader. */
import { computed, signal } from "@preact/signals";
import { json, send, short } from "./source";

export type Kind = "view" | "star" | "hidden" | "note" | "color" | "layout";

interface Fold {
  author: string;
  where: string;
  writable: boolean;
  items: Partial<Record<Kind, Record<string, unknown>>>;
}

export const own = signal<Fold | null>(null);
export const refusedOwn = signal("");

function shortened(items: Record<string, unknown> | undefined): ReadonlySet<string> {
  return new Set(Object.keys(items ?? {}).map(short));
}

export const stars = computed(() => shortened(own.value?.items.star));
export const hidden = computed(() => shortened(own.value?.items.hidden));
export const notes = computed(() => new Map(Object.entries(own.value?.items.note ?? {}).map(([id, text]) => [short(id), String(text)])));
/** Slots of colours that the reader chose, by experiment. */
export const colors = computed(() => new Map(Object.entries(own.value?.items.color ?? {}).flatMap(([id, slot]) => (Number.isInteger(slot) ? [[short(id), slot as number] as const] : []))));
/** Saved views: a name, and the address that it stands for. */
export const views = computed(() => Object.entries(own.value?.items.view ?? {}).filter((entry): entry is [string, string] => typeof entry[1] === "string"));

const dragged = signal<number | null>(null);
const usual = 0.46;
const ends = [0.15, 0.85] as const;

/** Share of the page's width that the list has. */
export const split = computed(() => {
  const chosen = dragged.value ?? own.value?.items.layout?.split;
  return typeof chosen === "number" ? Math.min(Math.max(chosen, ends[0]), ends[1]) : usual;
});

/** Give the list a share of the width; it is kept once the reader is done. */
export function divide(share: number, isDone: boolean): void {
  dragged.value = share;
  if (isDone && own.value?.writable && own.value.items.layout?.split !== split.value) void keep("layout", "split", Number(split.value.toFixed(4)));
}

export async function load(): Promise<void> {
  try {
    own.value = await json<Fold>("own");
  } catch {
    own.value = null;
  }
}

/** Keep a thing, or take it back with null. */
export async function keep(kind: Kind, name: string, value: unknown): Promise<void> {
  try {
    own.value = await send<Fold>("own", { kind, name, value });
    refusedOwn.value = "";
  } catch (error) {
    refusedOwn.value = (error as Error).message;
  }
}
