import assert from "node:assert/strict";
import test from "node:test";
import type { Curve } from "../src/columns";
import { columnOf, grown, mostWatched, position, union, type Points } from "../src/news";
import { starts, type CurveAnswer } from "../src/source";

function curve(values: number[], ends: [number, number]): Curve {
  const columns = Float64Array.from(values);
  return { id: "a", metric: "loss", points: values.length, nan: 0, inf: 0, ninf: 0, ends, first: columns.slice(), min: columns.slice(), max: columns.slice(), last: columns.slice(), smooth: null, marks: [] };
}

function answer(values: number[], ends: [number, number] = [0, 3]): CurveAnswer {
  return { from: 0, to: values.length - 1, x: starts(0, values.length - 1, values.length, false), curves: [curve(values, ends)], bands: [] };
}

function points(x: (number | null)[], y: (number | string)[]): Points {
  return { name: "points", id: "a", m: "loss", x, t: x.map((_, at) => 100 + at), at: x.map((step) => ({ epoch: step })), y };
}

test("each new point behind the end has a column of its own, so that none is thinned", () => {
  const next = grown(answer([1, 1, 1, 1]), [points([4, 5], [9, 2])], "step", false)!;
  assert.deepEqual([...next.x.slice(-2)], [4, 5]);
  assert.deepEqual([...next.curves[0]!.last.slice(-2)], [9, 2]);
  assert.equal(next.to, 5);
  assert.equal(next.curves[0]!.points, 6);
});

test("a point within the range goes into its column, which keeps its extremes", () => {
  const before = answer([1, 1, 1, NaN], [0, 1.8]);
  const next = grown(before, [points([1.9, 2], [8, 3])], "step", false)!;
  const at = columnOf(next.x, 1.9);
  assert.deepEqual([next.curves[0]!.min[at], next.curves[0]!.max[at], next.curves[0]!.last[at]], [1, 8, 3]);
  assert.equal(before.curves[0]!.max[at], 1, "the former answer is left as it is");
});

test("what is no number is marked and counted", () => {
  const { curves: [grownCurve] } = grown(answer([1, 1], [0, 0.1]), [points([0.2, 0.4, 5], ["NaN", "NaN", "-Infinity"])], "step", false)!;
  assert.deepEqual([grownCurve!.nan, grownCurve!.ninf, grownCurve!.points], [2, 1, 5]);
  assert.deepEqual(grownCurve!.marks, [{ column: 0, kind: "nan", count: 2 }, { column: 2, kind: "ninf", count: 1 }]);
});

test("a reader's span stays as it is", () => {
  const next = grown(answer([1, 1, 1, 1]), [points([40], [9])], "step", true)!;
  assert.equal(next.to, 3);
  assert.equal(next.x.length, 4);
});

test("only the server can put a point before others, or at an unknown position", () => {
  assert.equal(grown(answer([1, 1, 1, 1]), [points([1], [9])], "step", false), null);
  assert.equal(grown(answer([1, 1, 1, 1]), [points([3], [9])], "step", false), null, "it may be in the answer already");
  assert.equal(grown(answer([1, 1, 1, 1]), [points([null], [9])], "step", false), null);
  assert.equal(grown(answer([1, 1, 1, 1]), [points([9], [9])], "elapsed", false), null);
});

test("a position is that of the axis", () => {
  const one = points([7], [1]);
  assert.deepEqual(["step", "time", "at.epoch", "metrics.acc"].map((axis) => position(one, 0, axis)), [7, 100, 7, null]);
});

test("what tabs watch is joined, and each has a share of the most", () => {
  const many = Array.from({ length: 500 }, (_, at) => `x${at}`);
  const joined = union(new Map([["one", many], ["two", ["a", "b"]]]));
  assert.equal(joined.length, mostWatched);
  assert.ok(joined.includes("a") && joined.includes("b"));
});
