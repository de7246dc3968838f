/** The reader's own things: stars, hidden experiments, notes and views, kept as lines of a file of the reader. */
import { computed, signal } from "@preact/signals";
import { json, send, short } from "./source";

export type Kind = "view" | "star" | "hidden" | "note";

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
/** Saved views: a name, and the address that it stands for. */
export const views = computed(() => Object.entries(own.value?.items.view ?? {}).filter((entry): entry is [string, string] => typeof entry[1] === "string"));

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
