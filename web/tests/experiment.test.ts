import assert from "node:assert/strict";
import test from "node:test";
import { flat, quoted, timeLine, type Run } from "../src/overviews";
import { boxesOf, heat, histogramOf, pathsOf, shownAt, stepsOf, type Item } from "../src/pictures";

function run(name: string, started: number | null, ended: number | null, children: Run[] = [], status = "ok"): Run {
  return { run: name, status, started, ended, duration_s: null, paused: false, params: {}, exception: null, host: null, pid: null, children };
}

function item(step: number | null, data: Record<string, unknown> = {}): Item {
  return { run: "r", seq: step ?? 0, time: 0, step, type: "image", data };
}

test("nested params are joined by dots", () => {
  assert.deepEqual(flat({ lr: 1, net: { depth: 2, act: { name: "relu" } }, none: {}, list: [1] }), [["lr", 1], ["net.depth", 2], ["net.act.name", "relu"], ["none", {}], ["list", [1]]]);
});

test("runs lie on a line of time, those within others too, and one that runs reaches to now", () => {
  const { spans, from, to } = timeLine([run("a", 10, 20, [run("b", 12, 14)]), run("c", 20, null, [], "running")], 30);
  assert.deepEqual([from, to], [10, 30]);
  assert.deepEqual(spans.map((span) => [span.run.run, span.depth, span.left, span.width]), [["a", 0, 0, 0.5], ["b", 1, 0.1, 0.1], ["c", 0, 0.5, 0.5]]);
});

test("words of a command are quoted where a shell needs it", () => {
  assert.deepEqual(["a.py", "--lr=0.1", "two words", "it's", "$(rm)"].map(quoted), ["a.py", "--lr=0.1", "'two words'", "'it'\\''s'", "'$(rm)'"]);
});

test("a step shows the latest item at it or before, and the first where none is earlier", () => {
  const items = [item(0), item(10), item(20)];
  assert.deepEqual([15, 20, -5, null].map((step) => shownAt(items, step)!.step), [10, 20, 0, 20]);
  assert.deepEqual(stepsOf([items, [item(5), item(null)]]), [0, 5, 10, 20]);
});

test("boxes are shares of their image, and what is none is left out", () => {
  const boxes = [{ box: [10, 20, 30, 60], label: "cat", score: 0.9 }, { box: [1, 2] }, { box: ["a", 1, 2, 3] }, null];
  assert.deepEqual(boxesOf({ width: 100, height: 200, boxes }), [{ left: 0.1, top: 0.1, width: 0.2, height: 0.2, label: "cat 90 %" }]);
  assert.deepEqual(boxesOf({ boxes }), []);
  assert.deepEqual(pathsOf({ files: [{ path: "a" }, {}, { path: "b" }] }), ["a", "b"]);
});

test("histograms of different edges meet on common rows", () => {
  const one = histogramOf(item(0, { counts: [4, 2], edges: [0, 1, 2] }))!;
  const two = histogramOf(item(1, { counts: [8], edges: [0, 4] }))!;
  const { columns, low, high } = heat([one, two], 4);
  assert.deepEqual([low, high], [0, 4]);
  assert.deepEqual(columns.map((column) => [...column]), [[1, 0.5, 0, 0], [1, 1, 1, 1]]);
  assert.equal(histogramOf(item(0, { counts: [1], edges: [0] })), null);
});
