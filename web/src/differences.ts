/** Lines of a diff in the unified form of git. */

export interface DiffLine {
  kind: "file" | "span" | "added" | "removed" | "same" | "about";
  text: string;
}

/** Tell the lines of a diff apart. */
export function diffLines(text: string): DiffLine[] {
  let inside = false;
  return text.replace(/\n$/, "").split("\n").map((line): DiffLine => {
    if (line.startsWith("diff --git")) {
      inside = false;
      return { kind: "file", text: line };
    }
    if (line.startsWith("@@")) {
      inside = true;
      return { kind: "span", text: line };
    }
    if (!inside) return { kind: "about", text: line };
    if (line.startsWith("+")) return { kind: "added", text: line };
    if (line.startsWith("-")) return { kind: "removed", text: line };
    return { kind: "same", text: line };
  });
}

/** Compare two texts line by line, by their longest common subsequence. */
export function compareLines(before: string, after: string): DiffLine[] {
  const left = before === "" ? [] : before.replace(/\n$/, "").split("\n");
  const right = after === "" ? [] : after.replace(/\n$/, "").split("\n");
  let start = 0;
  while (start < left.length && start < right.length && left[start] === right[start]) start += 1;
  let endLeft = left.length;
  let endRight = right.length;
  while (endLeft > start && endRight > start && left[endLeft - 1] === right[endRight - 1]) {
    endLeft -= 1;
    endRight -= 1;
  }
  const rows = endLeft - start;
  const columns = endRight - start;
  const same = (text: string): DiffLine => ({ kind: "same", text: ` ${text}` });
  const middle: DiffLine[] = [];
  if (rows * columns > 4_000_000) {
    // Texts that share next to nothing: the whole middle is replaced, in bounded time and memory.
    middle.push(...left.slice(start, endLeft).map((text): DiffLine => ({ kind: "removed", text: `-${text}` })));
    middle.push(...right.slice(start, endRight).map((text): DiffLine => ({ kind: "added", text: `+${text}` })));
  } else {
    const lengths = Array.from({ length: rows + 1 }, () => new Uint32Array(columns + 1));
    for (let row = rows - 1; row >= 0; row -= 1) {
      for (let column = columns - 1; column >= 0; column -= 1) {
        lengths[row]![column] = left[start + row] === right[start + column]
          ? lengths[row + 1]![column + 1]! + 1
          : Math.max(lengths[row + 1]![column]!, lengths[row]![column + 1]!);
      }
    }
    let row = 0;
    let column = 0;
    while (row < rows || column < columns) {
      if (row < rows && column < columns && left[start + row] === right[start + column]) {
        middle.push(same(left[start + row]!));
        row += 1;
        column += 1;
      } else if (row < rows && (column === columns || lengths[row + 1]![column]! >= lengths[row]![column + 1]!)) {
        middle.push({ kind: "removed", text: `-${left[start + row]!}` });
        row += 1;
      } else {
        middle.push({ kind: "added", text: `+${right[start + column]!}` });
        column += 1;
      }
    }
  }
  return [...left.slice(0, start).map(same), ...middle, ...left.slice(endLeft).map(same)];
}

/** Keep the changed lines and a few around them; a stretch left out becomes one line that counts it. */
export function around(lines: readonly DiffLine[], margin = 3): DiffLine[] {
  const keep = new Uint8Array(lines.length);
  lines.forEach((line, index) => {
    if (line.kind === "same") return;
    for (let near = Math.max(index - margin, 0); near <= Math.min(index + margin, lines.length - 1); near += 1) keep[near] = 1;
  });
  const out: DiffLine[] = [];
  let skipped = 0;
  lines.forEach((line, index) => {
    if (!keep[index]) {
      skipped += 1;
      return;
    }
    if (skipped) out.push({ kind: "span", text: `${skipped} equal lines` });
    skipped = 0;
    out.push(line);
  });
  if (skipped) out.push({ kind: "span", text: `${skipped} equal lines` });
  return out;
}
