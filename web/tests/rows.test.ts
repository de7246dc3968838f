import assert from "node:assert/strict";
import test from "node:test";
import { brushed, cell, chosen, folded, grouped, isWithin, matching, named, sorted, spread, tree, turned } from "../src/rows";
import { axis } from "../src/scales";
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

test("a metric is the number that stands for it, else its last one", () => {
  const [row] = rows({ cursor: "a.1", root: "/runs", n: 1, columns: { id: ["aaaaaaaaaaaa00"], metrics: { acc: { value: [0.9], last: [0.7], max: [0.9] }, loss: { last: [0.5] } } } });
  assert.equal(cell(row!, "metrics.acc"), 0.9);
  assert.equal(cell(row!, "metrics.acc.last"), 0.7);
  assert.equal(cell(row!, "metrics.loss"), 0.5);
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

test("groups are in the order of their values, with those without one last, and a folded one shows its head only", () => {
  const lines = grouped(all, "params.lr", new Set([folded("0.1")]));
  assert.deepEqual(lines.map((line) => line.group?.label ?? line.row.name), ["0.01", "run_9", "0.1", "", "x"]);
  assert.deepEqual(spread(all.filter((row) => row.params.lr === 0.1), "metrics.loss"), { mean: 1.25, deviation: Math.sqrt(2 * 0.75 ** 2), count: 2 });
  assert.equal(spread(all, "params.opt"), null);
});

test("hidden rows stand aside, and stars choose", () => {
  assert.deepEqual(names(matching(all, "", false, null, new Set(["bbbbbbbbbbbb"]))), ["run_10", "x"]);
  assert.deepEqual(names(matching(all, "", false, null, undefined, new Set(["bbbbbbbbbbbb"]))), ["run_9"]);
});

test("a metric's name may look like a statistic", () => {
  const [row] = rows({ cursor: "", root: "", n: 1, columns: { id: ["a"], metrics: { "acc.max": { last: [3] }, acc: { last: [1], max: [2], mean: [1.5] } } } });
  assert.deepEqual(["metrics.acc.max", "metrics.acc.mean", "metrics.acc", "metrics.none.max"].map((name) => cell(row!, name)), [3, 1.5, 1, undefined]);
});

test("params that differ come before the metrics", () => {
  assert.deepEqual(chosen(all), ["name", "status", "spark.loss", "params.lr", "metrics.loss", "duration", "created"]);
});

test("notes are a column where there are some, and a search finds them", () => {
  const noted = rows({ cursor: "", root: "", n: 2, columns: { id: ["a", "b"], name: ["one", "two"], notes: [["first ", "see #3"], []] } });
  assert.deepEqual(noted.map((row) => cell(row, "notes")), ["first · see #3", undefined]);
  assert.equal(chosen(noted).at(-1), "notes");
  assert.deepEqual(names(matching(noted, "SEE", false, null)), ["one"]);
});

test("a range keeps numbers by size and words by their order, both ends included, and nothing that is absent", () => {
  const within = (column: string, from: string, to: string): string[] => names(all.filter((row) => isWithin(cell(row, column), { column, from, to })));
  assert.deepEqual(within("params.lr", "0.01", "0.05"), ["run_9"]);
  assert.deepEqual(within("params.lr", "0.1", "0.1"), ["run_10", "old"]);
  assert.deepEqual(within("metrics.loss", "-9", "9"), ["run_10", "old"]);
  assert.deepEqual(within("name", "old", "run_9"), ["run_9", "old"]);
  const [one, two] = [{ column: "a", from: "1", to: "2" }, { column: "b", from: "1", to: "2" }];
  assert.deepEqual(brushed([one, two], "a", ["3", "4"]), [two, { column: "a", from: "3", to: "4" }]);
  assert.deepEqual(brushed([one, two], "a", null), [two]);
});

test("a range has what lies between its ends on the axis, also of a column with numbers and words", () => {
  const values = [0.1, 1e-5, -10, -5, 2, "auto", "NaN", "v10", "v9", true, [1, 2]];
  const scale = axis(values, false);
  const order = [...values].sort((one, two) => scale.at(one) - scale.at(two));
  order.forEach((low, from) => order.slice(from).forEach((high, length) => {
    const range = { column: "params.a", from: scale.text(scale.at(low)), to: scale.text(scale.at(high)) };
    assert.deepEqual(order.filter((value) => isWithin(value, range)), order.slice(from, from + length + 1), JSON.stringify(range));
  }));
  assert.deepEqual(order.slice(0, 5), [-10, -5, 1e-5, 0.1, 2]);
});

test("a column that no row has is empty, whatever its name", () => {
  for (const name of ["__proto__", "constructor", "toString", "__defineGetter__", "valueOf"]) {
    for (const column of [name, `params.${name}`, `metrics.${name}`, `metrics.${name}.max`]) {
      assert.equal(cell(all[0]!, column), undefined, column);
      assert.equal(isWithin(cell(all[0]!, column), { column, from: "", to: "z" }), false);
      assert.equal(sorted(all, [column]).length, all.length);
    }
  }
});

test("a star stands for any part of a name, and nothing else is special", () => {
  assert.ok(named("train/loss", ["train/*"]) && named("anything", []));
  assert.ok(!named("trainXloss", ["train.loss"]) && !named("val/loss", ["train/*"]));
});
