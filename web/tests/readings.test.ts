import assert from "node:assert/strict";
import test from "node:test";
import type { Curve } from "../src/columns";
import { across, bandNames, footer, lastOf, sentence } from "../src/readings";
import { starts, type Band } from "../src/source";
import { svg, xml, type Drawing } from "../src/vector";

const none = new Float64Array(2);

function band(settings: Record<string, unknown>): Band {
  return { members: ["a", "b"], settings, count: none, diverged: Float64Array.of(0, 1), p10: Float64Array.of(1, 2), p50: Float64Array.of(2, 3), p90: Float64Array.of(3, 4), min: none, max: none };
}

function curve(): Curve {
  return { id: "a", metric: "loss", points: 4, nan: 1, inf: 0, ninf: 1, ends: [0, 1], first: Float64Array.of(1, 2), min: Float64Array.of(0, 2), max: Float64Array.of(9, 2), last: Float64Array.of(1, 2), smooth: null, marks: [] };
}

test("bands are named by the settings in which they differ", () => {
  assert.deepEqual(bandNames([band({ "params.lr": 0.1, act: "relu" }), band({ "params.lr": 0.2, act: "relu" })]), ["lr 0.1", "lr 0.2"]);
  assert.deepEqual(bandNames([band({ lr: 0.1 })]), ["all"]);
});

test("a sentence says where curves, or the medians of bands, end", () => {
  const other = { ...curve(), id: "b", last: Float64Array.of(5, NaN) };
  assert.equal(sentence("loss", [curve(), other], (id) => id), "loss: 2 curves from 0 to 9; they end between 2 (a) and 5 (b).");
  assert.equal(sentence("loss", [curve(), other], (id) => id, [band({ lr: 1 })]), "loss: 1 band of 2 curves from 0 to 9; its median ends at 3.");
  assert.equal(sentence("loss", [], (id) => id), "loss: no points.");
  assert.ok(Number.isNaN(lastOf(Float64Array.of(NaN))));
});

test("a column says which positions it stands for", () => {
  const wide = starts(0, 100, 10, false);
  assert.deepEqual([across("step", wide, 0, 100), across("step", wide, 9, 100)], ["step 0 … 9", "step 90 … 100"]);
  assert.equal(across("step", starts(0, 4, 8, false), 2, 4), "step 1");
  assert.deepEqual([across("elapsed", wide, 1, 100), across("at.epoch", wide, 1, 100), across("metrics.lr", wide, 0, 100)], ["elapsed 10 s", "epoch 10", "lr 0"]);
});

test("a footer counts what a chart stands for", () => {
  assert.equal(footer([curve(), curve()], [band({})]), "1 band of 2 curves, 8 points, 2 NaN, 2 infinite, 1 diverged");
  assert.equal(footer([{ ...curve(), nan: 0, ninf: 0, without: 1 }]), "1 curve, 4 points, 1 point at or below 0 of x, which a logarithm has not");
});

test("an SVG has every extreme, and hostile names as text", () => {
  const drawing: Drawing = {
    title: "<script>", foot: "1 curve", width: 100, height: 50, ground: "#fff", text: "#000", rule: "#ccc", grey: "#999", x: [[0, "0"]], y: [[0, "0"]],
    grid: starts(0, 1, 2, false), across: (x) => x * 100, up: (y) => y, crowd: [], bands: [{ band: band({}), color: "#111111", name: "b" }], lines: [{ curve: curve(), color: "#222222", dash: [], name: "a & b" }],
  };
  const text = svg(drawing);
  assert.ok(text.includes("M58 31L58 30L58 39L58 31L108 32"), text);
  assert.ok(text.includes("&lt;script&gt;") && !text.includes("<script>") && text.includes("a &amp; b"));
  assert.equal(xml("a\u0000b\ud800"), "ab");
});

test("columns of a logarithmic axis are equally wide in the logarithm", () => {
  assert.deepEqual([...starts(1, 10000, 4, true)].map(Math.round), [1, 10, 100, 1000]);
});
