import assert from "node:assert/strict";
import test from "node:test";
import { groupsOf, importance } from "../src/importance";
import { arcsinhMarks, axis, markWords, momentWords, powers, steps, trace } from "../src/scales";
import { rows, type Row } from "../src/source";

function made(params: Record<string, unknown[]>, loss: number[]): Row[] {
  return rows({ cursor: "", root: "", n: loss.length, columns: { id: loss.map((_, at) => String(at)), params, metrics: { loss: { last: loss } } } });
}

test("a param that decides explains all, and one that does not explains nothing", () => {
  const list = made({ lr: [1, 1, 1, 2, 2, 2], seed: [0, 1, 2, 0, 1, 2], same: [1, 1, 1, 1, 1, 1] }, [5, 5.1, 4.9, 9, 9.1, 8.9]);
  const [first, second, ...others] = importance(list, "metrics.loss", ["params.seed", "params.lr", "params.same"]);
  assert.equal(first!.param, "params.lr");
  assert.ok(first!.share > 0.99);
  assert.equal(second!.share, 0);
  assert.deepEqual(others, []);
  assert.deepEqual(first!.groups.map((group) => [group.label, group.count]), [["1", 3], ["2", 3]]);
});

test("as many groups as experiments explain nothing", () => {
  assert.deepEqual(importance(made({ name: ["a", "b", "c"] }, [1, 2, 3]), "metrics.loss", ["params.name"]), []);
});

test("many numbers are cut into ranges, in which equal values stay together", () => {
  const values = Array.from({ length: 20 }, (_, at) => at / 2);
  const groups = groupsOf(made({ x: values }, values), "params.x");
  assert.deepEqual([...groups.keys()], ["0 … 1.5", "2 … 3.5", "4 … 5.5", "6 … 7.5", "8 … 9.5"]);
  assert.deepEqual([...groups.values()].map((group) => group.length), [4, 4, 4, 4, 4]);
});

test("marks of an axis are round numbers within its ends", () => {
  assert.deepEqual(steps(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(steps(-3, 12, 4), [0, 5, 10]);
  assert.deepEqual(steps(2, 2, 4), [2]);
  assert.deepEqual(powers(0.001, 10), [0.001, 0.01, 0.1, 1, 10]);
  assert.deepEqual(powers(1, 20), [1, 2, 5, 10, 20]);
});

test("an axis places numbers by size, words by order, and nothing else", () => {
  const numbers = axis([0, 10, null], false);
  assert.deepEqual([0, 5, null, NaN].map(numbers.at), [0, 0.5, NaN, NaN]);
  const log = axis([0.01, 1], true);
  assert.ok(Math.abs(log.at(0.1) - 0.5) < 1e-12);
  const bent = axis([0, 0.1, 1000], true);
  assert.equal(bent.kind, "arcsinh", "zero has no logarithm");
  assert.deepEqual([bent.at(0), bent.at(1000)], [0, 1]);
  assert.ok(bent.at(0.1) > 0.04);
  assert.equal(log.text(0.5), "0.1");
  const words = axis(["b", "a", "c10", "c9"], false);
  assert.deepEqual(["a", "b", "c9", "c10", null].map(words.at), [0, 1 / 3, 2 / 3, 1, NaN]);
});

test("a small curve has gaps where there is no number", () => {
  assert.equal(trace([0, 1, null, 2], 30, 10), "M0.0 10.0L10.0 5.0L30.0 0.0");
  assert.equal(trace([NaN, 1], 30, 10), "M30.0 5.0");
});

test("marks are short and tell each other apart", () => {
  assert.deepEqual(markWords([14.16, 14.18, 14.2]), ["14.16", "14.18", "14.20"]);
  assert.deepEqual(markWords([0, 2.5, 5, 7.5]), ["0.0", "2.5", "5.0", "7.5"]);
  assert.deepEqual(markWords([0, 0.25, 0.5]), ["0.00", "0.25", "0.50"]);
  assert.deepEqual(markWords([0, 2.5e6, 5e6]), ["0.0", "2.5M", "5.0M"]);
  assert.deepEqual(markWords([0, 5e9, 1e10]), ["0", "5G", "10G"]);
  assert.deepEqual(markWords([-0.5, 0, 0.5]), ["−0.5", "0.0", "0.5"]);
  assert.deepEqual(markWords([0.01, 0.1, null, 1, 10]), ["0.01", "0.1", "", "1", "10"]);
  assert.deepEqual(markWords([0, 25000, 50000]), ["0", "25000", "50000"]);
  assert.deepEqual(markWords([0, 1e5, 2e5]), ["0", "100k", "200k"]);
});

test("moments are as fine as they lie apart", () => {
  const noon = new Date(2026, 10, 30, 12, 0, 0).getTime() / 1000;
  assert.deepEqual(momentWords([noon, noon + 1]), ["12:00:00", "12:00:01"]);
  assert.deepEqual(momentWords([noon, noon + 43200]), ["12:00", "12-01"]);
  assert.deepEqual(momentWords([noon, noon + 86400]), ["11-30", "12-01"]);
});

test("an arcsinh axis has zero and powers on either side", () => {
  assert.deepEqual(arcsinhMarks(-1, 1000, 1), [0, 1, 10, 100, 1000]);
  assert.deepEqual(arcsinhMarks(-5, 5, 1), [-5, -2, -1, 0, 1, 2, 5]);
  assert.ok(arcsinhMarks(-1e9, 1e9, 1e-3).length <= 9);
});
