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
