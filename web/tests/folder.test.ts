import assert from "node:assert/strict";
import test from "node:test";
import { fragment, fragmentView, start } from "../src/address";
import { floats, fold, smoothed } from "../src/folder";

test("points become columns that keep first, least, greatest and last", () => {
  const { first, min, max, last, points } = fold([0, 1, 2, 3, 4], [5, -1, 9, 2, 7], 0, 4, 2);
  assert.deepEqual([[...first], [...min], [...max], [...last], points], [[5, 9], [-1, 2], [5, 9], [-1, 7], 5]);
});

test("what is no number is counted where it was logged", () => {
  const columns = fold([0, 1, 2, 3], [NaN, 1, Infinity, -Infinity], 0, 3, 2);
  assert.deepEqual([columns.nan, columns.inf, columns.ninf, columns.points], [1, 1, 1, 4]);
  assert.deepEqual(columns.marks.map((mark) => [mark.column, mark.kind]), [[0, "nan"], [1, "inf"], [1, "ninf"]]);
});

test("a span leaves out what lies outside, and smoothing still knows it", () => {
  const columns = fold([0, 1, 2], [0, 10, 10], 1, 2, 1, false, 0.5);
  assert.equal(columns.points, 2);
  assert.deepEqual(smoothed([[0, 0], [1, 10], [2, 10]], 0.5).map((value) => Math.round(value * 1000) / 1000), [0, 6.667, 8.571]);
  assert.equal(Math.round(columns.smooth![0]! * 1000) / 1000, 8.571);
});

test("floats of an export are those that were logged", () => {
  const bytes = Buffer.from(Float64Array.of(0.1, NaN, -Infinity).buffer);
  assert.deepEqual([...floats(bytes.toString("base64"))], [0.1, NaN, -Infinity]);
});

test("an address behind a # leads back to its view", () => {
  const wanted = { ...start, exp: "8a1c8f30", tab: "events" as const, find: "a & b?", pick: [{ id: "8a1c8f30", slot: 1 }] };
  assert.equal(fragment({ ...start, exp: "8a1c8f30", tab: "charts" }), "#e/8a1c8f30?tab=charts");
  assert.deepEqual(fragmentView(fragment(wanted)), wanted);
  assert.deepEqual(fragmentView(fragment(start)), start);
  assert.deepEqual(fragmentView(""), start);
});
