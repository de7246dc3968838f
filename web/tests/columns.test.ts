import assert from "node:assert/strict";
import test from "node:test";
import { color, dashes, mixed, slots } from "../src/colors";
import { corners, ends, filled, nearest, outside, spans, targetOf, type Curve } from "../src/columns";

/** Put points into columns, as the server does. */
function curve(points: readonly [number, number][], columns: number): Curve {
  const empty = (): Float64Array => new Float64Array(columns).fill(NaN);
  const out: Curve = { id: "a", metric: "m", points: points.length, nan: 0, inf: 0, ninf: 0, ends: [0, columns], first: empty(), min: empty(), max: empty(), last: empty(), smooth: null, marks: [] };
  for (const [x, y] of points) {
    const index = Math.floor(x);
    if (Number.isNaN(out.last[index])) out.first[index] = out.min[index] = out.max[index] = y;
    out.min[index] = Math.min(out.min[index]!, y);
    out.max[index] = Math.max(out.max[index]!, y);
    out.last[index] = y;
  }
  return out;
}

test("a spike within a column is part of what is drawn", () => {
  const spiky = curve([[0.1, 1], [0.5, 1000], [0.9, 1], [1.2, 2], [3.5, 2]], 4);
  assert.equal(filled(spiky), 3);
  const [x, y] = corners(spiky, [0, 1, 2, 3]);
  assert.deepEqual([...x], [0, 0, 0, 0, 1, 3]);
  assert.ok([...y].includes(1000));
  const upright = spans(spiky, (index) => index, (value) => value);
  assert.deepEqual([...upright.subarray(0, 3)], [0, 1000, 1]);
});

test("the point under the pointer is one of the columns around it, of whichever curve is nearest", () => {
  const up = (value: number): number => 100 - value;
  const spiky = curve([[10, 5], [11, 80], [12, 5], [60, 5]], 200);
  const flat = { ...curve([[10, 40], [11, 40], [12, 40]], 200), id: "b" };
  assert.deepEqual(strip(targetOf([spiky, flat], 12, 22, 100, up)), { id: "a", column: 11, y: 80 });
  assert.deepEqual(strip(targetOf([spiky, flat], 12, 61, 100, up)), { id: "b", column: 12, y: 40 });
  assert.equal(targetOf([spiky], 40, 95, 100, up)!.column, 60);
  assert.equal(targetOf([spiky], 150, 95, 100, up), null);
  const inside = targetOf([curve([[3.1, 10], [3.2, 90]], 10)], 3, 50, 100, up)!;
  assert.ok(Math.abs(inside.y - 50) < 1e-6);
});

test("a mark at an edge is what the pointer there is at", () => {
  const marked = { ...curve([[10, 5], [50, 5]], 100), marks: [{ column: 30, kind: "nan" as const, count: 1 }, { column: 30, kind: "inf" as const, count: 1 }] };
  const up = (value: number): number => 100 - value;
  assert.deepEqual([targetOf([marked], 31, 97, 100, up)!.y, targetOf([marked], 31, 2, 100, up)!.y], [NaN, Infinity]);
  assert.equal(targetOf([marked], 31, 50, 100, up)!.column, 50);
});

function strip(target: ReturnType<typeof targetOf>): unknown {
  return target && { id: target.id, column: target.column, y: target.y };
}

test("spans of a crowded curve leave no gap", () => {
  const steps = curve([[0, 0], [1, 10], [2, 20]], 3);
  assert.deepEqual([...spans(steps, (index) => index, (value) => value)], [0, 0, 0, 1, 10, 0, 2, 20, 10]);
});

test("robust ends count what they leave out", () => {
  const points = Array.from({ length: 200 }, (_, index): [number, number] => [index, index % 10]);
  points[7] = [7, 1e9];
  const one = curve(points, 200);
  assert.deepEqual(ends([one], false), [0, 1e9]);
  const [low, high] = ends([one], true)!;
  assert.ok(high < 100);
  assert.equal(outside([one], low, high), 1);
  assert.equal(ends([curve([], 4)], false), null);
});

test("the nearest column with a point is found on both sides", () => {
  const one = curve([[2, 1], [7, 1]], 10);
  assert.deepEqual([0, 4, 5, 9].map((column) => nearest(one, column)), [2, 2, 7, 7]);
  assert.equal(nearest(curve([], 3), 1), -1);
});

function luminance(hex: string): number {
  const value = [1, 3, 5].map((index) => parseInt(hex.slice(index, index + 2), 16) / 255)
    .map((channel) => (channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4));
  return 0.2126 * value[0]! + 0.7152 * value[1]! + 0.0722 * value[2]!;
}

function contrast(one: string, two: string): number {
  const [high, low] = [luminance(one), luminance(two)].sort((a, b) => b - a) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

/** What a reader without red cones, or without green ones, sees (Viénot, Brettel, Mollon 1999), in linear light. */
function seen(hex: string, kind: "protan" | "deutan"): number[] {
  const [r, g, b] = [1, 3, 5].map((index) => (parseInt(hex.slice(index, index + 2), 16) / 255) ** 2.2) as [number, number, number];
  const mix = kind === "protan" ? 0.11238 * r + 0.88762 * g : 0.29275 * r + 0.70725 * g;
  return [mix, b].map((value) => 100 * Math.cbrt(value));
}

test("each colour stands out from its ground, light and dark", () => {
  for (let slot = 0; slot < slots; slot += 1) {
    assert.ok(contrast(color(slot, false), "#ffffff") >= 3, `light ${slot} ${contrast(color(slot, false), "#ffffff")}`);
    assert.ok(contrast(color(slot, true), "#17181a") >= 3, `dark ${slot}`);
  }
});

test("readers without red or green cones tell the first colours apart", () => {
  for (const kind of ["protan", "deutan"] as const) {
    for (const isDark of [false, true]) {
      for (let one = 0; one < slots; one += 1) {
        for (let two = one + 1; two < slots; two += 1) {
          const [a, b] = [seen(color(one, isDark), kind), seen(color(two, isDark), kind)];
          const distance = Math.hypot(a[0]! - b[0]!, a[1]! - b[1]!);
          assert.ok(distance >= 5, `${kind} ${isDark ? "dark" : "light"} ${one} ${two}: ${distance.toFixed(1)}`);
        }
      }
    }
  }
});

test("the eleventh pick has the first colour, dashed", () => {
  assert.equal(color(10, false), color(0, false));
  assert.notDeepEqual(dashes(10), dashes(0));
  assert.equal(mixed("#000000", "#ffffff", 0.5), "#808080");
});
