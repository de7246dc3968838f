/** Small curves in the cells of the list, asked for as rows come on the screen. */
import { signal } from "@preact/signals";
import { float, json, short } from "./source";
import { view } from "./state";

const most = 300;
/** By metric and experiment: its values with the moment of the newest line that they stand for. */
const kept = new Map<string, { age: number; y: (number | null)[] }>();
const wanted = new Map<string, Map<string, number>>();
let timer = 0;

/** Changes when curves have come. */
export const arrived = signal(0);

interface Answer {
  curves: Record<string, unknown[]>;
}

/** Values of a metric, or null until they are there. */
export function spark(id: string, metric: string, age: number): readonly (number | null)[] | null {
  const own = kept.get(`${metric}\n${id}\n${view.value.asof}`);
  // A curve of the size of a word tells nothing new more often than every few seconds.
  if (own && !(age > own.age + 5)) return own.y;
  const ids = wanted.get(metric) ?? new Map<string, number>();
  ids.set(id, age);
  wanted.set(metric, ids);
  timer ||= window.setTimeout(ask, 60);
  return own?.y ?? null;
}

function ask(): void {
  timer = 0;
  const { asof } = view.peek();
  for (const [metric, ids] of wanted) {
    const asked = [...ids].slice(0, most);
    json<Answer>("sparks", { ids: asked.map(([id]) => id).join(","), m: metric, asof }).then(
      (answer) => {
        const curves = new Map(Object.entries(answer.curves).map(([id, y]) => [short(id), y]));
        for (const [id, age] of asked) kept.set(`${metric}\n${id}\n${asof}`, { age, y: (curves.get(id) ?? []).map(float) });
        arrived.value += 1;
      },
      () => undefined,
    );
  }
  wanted.clear();
}
