/** Markdown of notes and texts as a tree of plain nodes: no HTML, no remote image, only links that lead to pages. */

export type Inline =
  | { kind: "text"; text: string }
  | { kind: "code"; text: string }
  | { kind: "strong"; inner: Inline[] }
  | { kind: "emphasis"; inner: Inline[] }
  | { kind: "struck"; inner: Inline[] }
  | { kind: "link"; href: string; inner: Inline[] };

export type Block =
  | { kind: "heading"; level: number; inner: Inline[] }
  | { kind: "paragraph"; inner: Inline[] }
  | { kind: "code"; language: string; text: string }
  | { kind: "list"; ordered: boolean; start: number; items: Block[][] }
  | { kind: "quote"; inner: Block[] }
  | { kind: "table"; head: Inline[][]; rows: Inline[][][] }
  | { kind: "rule" };

/** Check that a link leads to a page: http, https, mail, or relative. */
export function isSafeLink(href: string): boolean {
  // Signs that browsers pass over inside a scheme ("java\nscript:") are passed over here as well.
  const bare = href.replace(/[\u0000-\u0020\u007f-\u00a0\u200b-\u200f\u2028-\u202f\ufeff]/g, "");
  const scheme = /^([^/?#]*?):/.exec(bare);
  return scheme ? /^(https?|mailto)$/i.test(scheme[1]!) : !bare.startsWith("//") && bare !== "";
}

const inlinePattern = new RegExp(
  [
    "(`+)([\\s\\S]*?[^`])\\1(?!`)", // 1 2: code
    "!?\\[((?:[^\\[\\]\\\\]|\\\\.)*)\\]\\(\\s*<?([^\\s()<>]*(?:\\([^\\s()]*\\)[^\\s()]*)*)>?(?:\\s+\"[^\"]*\")?\\s*\\)", // 3 4: link
    "<(https?://[^\\s<>]+)>", // 5
    "\\*\\*(?=\\S)([\\s\\S]*?\\S)\\*\\*", // 6: strong
    "\\*(?=[^\\s*])([\\s\\S]*?[^\\s*])\\*(?!\\*)", // 7: emphasis
    "(?<![\\w_])_(?=[^\\s_])([\\s\\S]*?[^\\s_])_(?![\\w_])", // 8
    "~~(?=\\S)([\\s\\S]*?\\S)~~", // 9: struck
    "\\\\([!-/:-@\\[-`{-~])", // 10: an escaped sign
    "(https?://[^\\s<>()\\[\\]]*[^\\s<>()\\[\\].,;:!?'\"])", // 11: a bare address
  ].join("|"),
  "g",
);

/** Read the marks inside a line. */
export function inline(text: string, depth = 0): Inline[] {
  if (depth > 8) return [{ kind: "text", text }];
  const out: Inline[] = [];
  let end = 0;
  const add = (value: string): void => {
    const before = out[out.length - 1];
    if (value && before?.kind === "text") before.text += value;
    else if (value) out.push({ kind: "text", text: value });
  };
  for (const match of text.matchAll(inlinePattern)) {
    add(text.slice(end, match.index));
    end = match.index + match[0].length;
    const [whole, , code, label, href, angle, strong, star, underscore, struck, sign, bare] = match;
    const address = angle ?? bare;
    if (code !== undefined) out.push({ kind: "code", text: code.trim() });
    else if (label !== undefined && href !== undefined) {
      if (isSafeLink(href)) out.push({ kind: "link", href, inner: inline(label || href, depth + 1) });
      else add(whole);
    } else if (address !== undefined) out.push({ kind: "link", href: address, inner: [{ kind: "text", text: address }] });
    else if (strong !== undefined) out.push({ kind: "strong", inner: inline(strong, depth + 1) });
    else if (star !== undefined || underscore !== undefined) out.push({ kind: "emphasis", inner: inline((star ?? underscore)!, depth + 1) });
    else if (struck !== undefined) out.push({ kind: "struck", inner: inline(struck, depth + 1) });
    else add(sign ?? "");
  }
  add(text.slice(end));
  return out;
}

const bullet = /^(\s*)(?:[-*+]|(\d{1,9})[.)])\s+(.*)$/;

/** Read blocks of text. */
export function blocks(text: string, depth = 0): Block[] {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const out: Block[] = [];
  let index = 0;
  while (index < lines.length) {
    const line = lines[index]!;
    const fence = /^\s{0,3}(`{3,}|~{3,})\s*([^`\s]*)/.exec(line);
    const heading = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$/.exec(line);
    if (line.trim() === "") {
      index += 1;
    } else if (fence) {
      const inner: string[] = [];
      index += 1;
      while (index < lines.length && !lines[index]!.trim().startsWith(fence[1]!)) {
        inner.push(lines[index]!);
        index += 1;
      }
      index += 1;
      out.push({ kind: "code", language: fence[2]!, text: inner.join("\n") });
    } else if (heading) {
      out.push({ kind: "heading", level: heading[1]!.length, inner: inline(heading[2]!) });
      index += 1;
    } else if (/^\s{0,3}([-*_])(\s*\1){2,}\s*$/.test(line)) {
      out.push({ kind: "rule" });
      index += 1;
    } else if (/^\s{0,3}>/.test(line) && depth < 8) {
      const inner: string[] = [];
      while (index < lines.length && /^\s{0,3}>/.test(lines[index]!)) {
        inner.push(lines[index]!.replace(/^\s{0,3}>\s?/, ""));
        index += 1;
      }
      out.push({ kind: "quote", inner: blocks(inner.join("\n"), depth + 1) });
    } else if (bullet.test(line) && depth < 8) {
      const first = bullet.exec(line)!;
      const indent = first[1]!.length;
      const items: string[][] = [];
      while (index < lines.length) {
        const match = bullet.exec(lines[index]!);
        if (match && match[1]!.length <= indent + 1 && (match[2] === undefined) === (first[2] === undefined)) items.push([match[3]!]);
        else if (/^\s/.test(lines[index]!) && lines[index]!.trim()) items[items.length - 1]!.push(lines[index]!.slice(Math.min(indent + 2, lines[index]!.search(/\S/))));
        else if (!lines[index]!.trim() && index + 1 < lines.length && (bullet.test(lines[index + 1]!) || /^\s+\S/.test(lines[index + 1]!))) items[items.length - 1]!.push("");
        else break;
        index += 1;
      }
      out.push({ kind: "list", ordered: first[2] !== undefined, start: Number(first[2] ?? 1), items: items.map((item) => blocks(item.join("\n"), depth + 1)) });
    } else if (line.includes("|") && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(lines[index + 1] ?? "") && lines[index + 1]!.includes("-")) {
      const cells = (row: string): Inline[][] => row.trim().replace(/^\||\|$/g, "").split("|").map((cell) => inline(cell.trim()));
      const head = cells(line);
      const rows: Inline[][][] = [];
      index += 2;
      while (index < lines.length && lines[index]!.includes("|")) {
        rows.push(cells(lines[index]!));
        index += 1;
      }
      out.push({ kind: "table", head, rows });
    } else {
      const inner: string[] = [];
      // At least one line is taken, whatever it looks like, so that reading always moves on.
      do {
        inner.push(lines[index]!);
        index += 1;
      } while (index < lines.length && lines[index]!.trim() !== "" && !/^\s{0,3}(#{1,6}\s|>|`{3,}|~{3,})/.test(lines[index]!) && !bullet.test(lines[index]!));
      out.push({ kind: "paragraph", inner: inline(inner.join("\n")) });
    }
  }
  return out;
}
