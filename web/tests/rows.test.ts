import assert from "node:assert/strict";
import test from "node:test";
import { chosen, matching, named, sorted, tree, turned } from "../src/rows";
import { rows, type Row } from "../src/source";

const answer = {
  cursor: "a.1", root: "/runs", n: 4,
  columns: {
    id: ["aaaaaaaaaaaa00", "bbbbbbbbbbbb00", "cccccccccccc00", "dddddddddddd00"], name: ["run_10", "run_9", "x", "old"], parent: [null, null, "aaaaaaaaaaaa00", "missing"],
    created: [1, 2, 3, 4], archived: [false, false, false, true], tags: [["good"], [], [], []],
    params: { lr: [0.1, 0.01, null, 0.1], opt: ["adam", "adam", "adam", "adam"] }, metrics: { loss: { last: [0.5, "NaN", null, 2], min: [0.1, 0.2, null, 1], max: [1, 2, null, 3] } },
  },
};
const all: Row[] = rows(answer);
const names = (list: readonly Row[]): string[] => list.map((row) => row.name);

test("columns become rows, without what is absent", () => {
  assert.equal(all[0]!.id, "aaaaaaaaaaaa");
  assert.deepEqual(all[2]!.params, { opt: "adam" });
  assert.deepEqual(all[2]!.metrics, {});
  assert.ok(Number.isNaN(all[1]!.metrics.loss!.last));
});

test("rows are in order by numbers and by names with numbers, absent ones last", () => {
  assert.deepEqual(names(sorted(all, ["name"])), ["old", "run_9", "run_10", "x"]);
  assert.deepEqual(names(sorted(all, ["params.lr"])).at(0), "run_9");
  assert.deepEqual(names(sorted(all, ["-params.lr"])).at(-1), "x");
  assert.deepEqual(names(sorted(all, [])), ["old", "x", "run_9", "run_10"]);
  assert.deepEqual(turned(turned(turned([], "lr"), "lr"), "lr"), []);
});

test("a search finds names, tags and params, and leaves archived rows out", () => {
  assert.deepEqual(names(matching(all, "GOOD run", false, null)), ["run_10"]);
  assert.deepEqual(names(matching(all, "lr=0.1", false, null)), ["run_10"]);
  assert.equal(matching(all, "", true, null).length, 4);
  assert.deepEqual(names(matching(all, "", true, new Set(["bbbbbbbbbbbb"]))), ["run_9"]);
});

test("children follow an open parent, and nobody without one is lost", () => {
  assert.deepEqual(tree(all, new Set()).map((line) => [line.row.name, line.depth, line.children]), [["run_10", 0, 1], ["run_9", 0, 0], ["old", 0, 0]]);
  assert.deepEqual(tree(all, new Set(["aaaaaaaaaaaa"])).map((line) => line.depth), [0, 1, 0, 0]);
});

test("params that differ come before the metrics", () => {
  assert.deepEqual(chosen(all), ["name", "status", "params.lr", "metrics.loss", "duration", "created"]);
});

test("a star stands for any part of a name, and nothing else is special", () => {
  assert.ok(named("train/loss", ["train/*"]) && named("anything", []));
  assert.ok(!named("trainXloss", ["train.loss"]) && !named("val/loss", ["train/*"]));
});
