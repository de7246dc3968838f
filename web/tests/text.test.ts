import assert from "node:assert/strict";
import test from "node:test";
import { diffLines } from "../src/differences";
import { age, ago, bytes, clock, count, countOf, moment, decimals, duration, number } from "../src/format";
import { blocks, inline, isSafeLink } from "../src/prose";
import { render } from "../src/terminal";

test("numbers show what was logged and no noise", () => {
  const rows: [number, string][] = [
    [0, "0"], [1, "1"], [0.1 + 0.2, "0.3"], [0.98765, "0.9877"], [-0.5, "−0.5"], [1e-7, "1e−7"], [123456, "123,456"], [1234.5678, "1235"],
    [NaN, "NaN"], [Infinity, "∞"], [-Infinity, "−∞"], [3.2e21, "3.2e21"], [0.00012, "0.00012"], [99999.5, "100000"],
  ];
  for (const [value, text] of rows) assert.equal(number(value), text);
});

test("the age of a list names the minute, and the day if it is another one", () => {
  const made = new Date(2026, 10, 30, 14, 3, 20).getTime() / 1000;
  assert.equal(clock(made, made + 720), "14:03");
  assert.equal(clock(made, made + 86400), moment(made).slice(0, 16));
  assert.deepEqual([0, 60, 725, 7200, 200000].map(ago), ["just now", "1 minute ago", "12 minutes ago", "2 h ago", "2 d ago"]);
});

test("spans, ages, sizes and counts are in words", () => {
  assert.equal(duration(3725), "1 h 2 min");
  assert.equal(duration(0.25), "250 ms");
  assert.equal(duration(59.6), "60 s");
  assert.equal(duration(86400 * 200), "200 d");
  assert.equal(age(0.2), "now");
  assert.equal(age(7300), "2 h");
  assert.equal(bytes(1234567), "1.2 MB");
  assert.equal(count(1, "point"), "1 point");
  assert.equal(count(1204113, "point"), "1,204,113 points");
  assert.equal(countOf(12500, 100000, "point"), "12,500 of 100,000 points");
  assert.equal(countOf(100000, 100000, "point"), "100,000 points");
  assert.deepEqual(["0.25", "12", "−1,000.5", "1e−7", "NaN"].map(decimals), [3, 0, 2, -1, -1]);
});

test("a link leads to a page, never to code", () => {
  for (const href of ["https://a.example/x", "http://a", "mailto:a@b.example", "files/a.png", "#part", "../a", "a?b=c:d", "?x:y"]) assert.ok(isSafeLink(href), href);
  const hostile = [
    "javascript:alert(1)", "JaVaScript:alert(1)", " javascript:x", "java\nscript:x", "java\tscript:x", "data:text/html,x", "vbscript:x", "//evil.example",
    "\u0001javascript:x", "file:///etc/passwd", "blob:x", "",
  ];
  for (const href of hostile) assert.ok(!isSafeLink(href), JSON.stringify(href));
});

test("a hostile note stays text", () => {
  const tree = JSON.stringify(blocks("<script>alert(1)</script> [x](javascript:alert(1)) ![y](https://evil.example/a.png)"));
  assert.ok(tree.includes("<script>alert(1)</script> [x](javascript:alert(1))"));
  assert.ok(!tree.includes("image"));
});

test("markdown becomes blocks", () => {
  const tree = blocks("# Title\n\nA *b* **c** `d*e*` [f](g.md)\n\n- one\n- two\n  - inner\n\n1. x\n2. y\n\n> q\n\n```py\na <b>\n```\n\n| h | i |\n|---|:-:|\n| 1 | 2 |\n\n---");
  assert.deepEqual(tree.map((block) => block.kind), ["heading", "paragraph", "list", "list", "quote", "code", "table", "rule"]);
  const list = tree[2]!;
  assert.ok(list.kind === "list" && list.items.length === 2 && list.items[1]![1]!.kind === "list");
  assert.deepEqual(inline("a_b_c and __x").map((item) => item.kind), ["text"]);
});

test("reading markdown ends, whatever the text", () => {
  for (const text of ["*".repeat(5000), "> ".repeat(3000), "[".repeat(5000), "- ".repeat(3000), "`".repeat(4999), "|\n-|-\n", "\n\n```", "_a".repeat(3000)]) blocks(text);
});

test("a terminal's colours and overwritten lines are shown as it would", () => {
  assert.deepEqual(render("10%\r20%\x1b[K"), [[{ text: "20%", style: [] }]]);
  assert.deepEqual(render("\x1b[1;31mbad\x1b[0m ok"), [[{ text: "bad", style: ["bold", "c1"] }, { text: " ok", style: [] }]]);
  assert.deepEqual(render("a\x1b]0;title\x07b\x00"), [[{ text: "ab", style: [] }]]);
  assert.deepEqual(render("\x1b[38;2;1;2;3mx\n\x1b[38;5;9my"), [[{ text: "x", style: [] }], [{ text: "y", style: ["c9"] }]]);
});

test("lines that differ are told apart", () => {
  const kinds = (text: string): string => diffLines(text).map((line) => line.kind[0]).join("");
  assert.equal(kinds("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n c\n"), "faasras");
});
