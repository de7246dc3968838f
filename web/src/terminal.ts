/** Output of a terminal: colours as spans, carriage returns as what they overwrite. */

export interface Span {
  text: string;
  /** Names of styles: bold, dim, italic, underline, inverse, and c0 to c15 for the colours. */
  style: readonly string[];
}

type Cells = { sign: string; style: string }[];

function styled(style: Set<string>, codes: readonly number[]): void {
  for (let index = 0; index < codes.length; index += 1) {
    const code = codes[index]!;
    const dyed = (name: string | null): void => {
      for (const item of [...style]) if (/^c\d+$/.test(item)) style.delete(item);
      if (name) style.add(name);
    };
    if (code === 0) style.clear();
    else if (code === 1) style.add("bold");
    else if (code === 2) style.add("dim");
    else if (code === 3) style.add("italic");
    else if (code === 4) style.add("underline");
    else if (code === 7) style.add("inverse");
    else if (code === 22) ["bold", "dim"].forEach((item) => style.delete(item));
    else if (code === 23) style.delete("italic");
    else if (code === 24) style.delete("underline");
    else if (code === 27) style.delete("inverse");
    else if (code >= 30 && code <= 37) dyed(`c${code - 30}`);
    else if (code >= 90 && code <= 97) dyed(`c${code - 82}`);
    else if (code === 39) dyed(null);
    else if (code === 38 || code === 48) {
      // 38;5;N and 38;2;R;G;B: the sixteen first are kept, other colours are left as they are.
      if (codes[index + 1] === 5) {
        if (code === 38 && (codes[index + 2] ?? 99) < 16) dyed(`c${codes[index + 2]}`);
        index += 2;
      } else if (codes[index + 1] === 2) index += 4;
    }
  }
}

/** Render lines as a terminal would show them. */
export function render(text: string): Span[][] {
  const style = new Set<string>();
  return text.split("\n").map((line) => {
    const cells: Cells = [];
    let position = 0;
    const pattern = /\x1b\[([\d;]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|([\s\S])/gu;
    for (const match of line.matchAll(pattern)) {
      if (match[2] === "m") styled(style, (match[1] || "0").split(";").map(Number));
      else if (match[2] === "K") cells.length = match[1] === "2" ? 0 : Math.min(position, cells.length);
      else if (match[2] === "G") position = Math.max(Number(match[1] || 1) - 1, 0);
      else if (match[2] === "C") position += Number(match[1] || 1);
      else if (match[2] === "D") position = Math.max(position - Number(match[1] || 1), 0);
      else if (match[3] === "\r") position = 0;
      else if (match[3] === "\b") position = Math.max(position - 1, 0);
      else if (match[3] !== undefined && (match[3] >= " " || match[3] === "\t")) {
        // A cursor far to the right is taken at its word only so far: a log must not make a page of blanks.
        position = Math.min(position, cells.length + 1000);
        while (cells.length < position) cells.push({ sign: " ", style: "" });
        cells[position] = { sign: match[3], style: [...style].sort().join(" ") };
        position += 1;
      }
    }
    const spans: Span[] = [];
    let before: string | null = null;
    for (const cell of cells) {
      if (cell.style === before) spans[spans.length - 1]!.text += cell.sign;
      else spans.push({ text: cell.sign, style: cell.style ? cell.style.split(" ") : [] });
      before = cell.style;
    }
    return spans;
  });
}
