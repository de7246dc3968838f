/** Media over steps: which one a step shows, boxes on images, histograms and curves as points to draw. */

export interface Item {
  run: string;
  seq: number;
  time: number;
  step: number | null;
  type: string;
  data: Record<string, unknown>;
}

/** List the steps of items, in order. */
export function stepsOf(lists: Iterable<readonly Item[]>): number[] {
  const steps = new Set<number>();
  for (const list of lists) for (const item of list) if (typeof item.step === "number") steps.add(item.step);
  return [...steps].sort((a, b) => a - b);
}

/** Find the item that a step shows: the latest at it or before it, else the first; without a step the last. */
export function shownAt(items: readonly Item[], step: number | null): Item | null {
  if (step === null) return items[items.length - 1] ?? null;
  let best: Item | null = null;
  for (const item of items) if ((item.step ?? -Infinity) <= step && (!best || (item.step ?? -Infinity) >= (best.step ?? -Infinity))) best = item;
  return best ?? items[0] ?? null;
}

export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
  label: string;
}

/** Turn boxes in pixels into shares of their image; one that is none is left out. */
export function boxesOf(data: Record<string, unknown>): Box[] {
  const [width, height] = [Number(data.width), Number(data.height)];
  if (!Array.isArray(data.boxes) || !(width > 0) || !(height > 0)) return [];
  return data.boxes.flatMap((item: { box?: unknown; label?: unknown; score?: unknown }) => {
    const corners = Array.isArray(item?.box) ? item.box.map(Number) : [];
    if (corners.length !== 4 || !corners.every(Number.isFinite)) return [];
    const [x0, y0, x1, y1] = corners as [number, number, number, number];
    const score = typeof item.score === "number" ? ` ${Math.round(item.score * 100)} %` : "";
    return [{ left: x0 / width, top: y0 / height, width: (x1 - x0) / width, height: (y1 - y0) / height, label: `${item.label ?? ""}${score}`.trim() }];
  });
}

/** Paths of the files that an item refers to. */
export function pathsOf(data: Record<string, unknown>): string[] {
  const all = Array.isArray(data.files) ? data.files : [data.file];
  return all.flatMap((file: { path?: unknown } | undefined) => (typeof file?.path === "string" ? [file.path] : []));
}

export interface Histogram {
  step: number | null;
  counts: number[];
  edges: number[];
}

export function histogramOf(item: Item): Histogram | null {
  const { counts, edges } = item.data;
  if (!Array.isArray(counts) || !Array.isArray(edges) || edges.length !== counts.length + 1) return null;
  return { step: item.step, counts: counts.map(Number), edges: edges.map(Number) };
}

/** Spread histograms over common rows of values: one column for each, shares of its greatest density. */
export function heat(all: readonly Histogram[], rows: number): { columns: Float64Array[]; low: number; high: number } {
  const low = Math.min(...all.map((one) => one.edges[0]!));
  const high = Math.max(...all.map((one) => one.edges[one.edges.length - 1]!));
  const tall = (high - low) / rows || 1;
  const columns = all.map(({ counts, edges }) => {
    const column = new Float64Array(rows);
    counts.forEach((count, at) => {
      const [begin, end] = [edges[at]!, edges[at + 1]!];
      const first = Math.min(Math.max(Math.floor((begin - low) / tall), 0), rows - 1);
      const last = Math.min(Math.max(Math.ceil((end - low) / tall) - 1, first), rows - 1);
      for (let row = first; row <= last; row += 1) {
        const overlap = Math.min(end, low + (row + 1) * tall) - Math.max(begin, low + row * tall);
        column[row]! += end > begin ? (count * Math.max(overlap, 0)) / (end - begin) : count / (last - first + 1);
      }
    });
    const most = Math.max(...column) || 1;
    return column.map((value) => value / most);
  });
  return { columns, low, high };
}
