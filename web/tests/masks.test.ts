import assert from "node:assert/strict";
import test from "node:test";
import { deflateSync } from "node:zlib";
import { classesOf, counted, isDrawn, latest, masksOf, painted, switchedOver, tint } from "../src/masks";

/** Write a grey PNG whose lines are filtered by each rule in turn. */
function png(width: number, height: number, depth: 8 | 16, values: readonly number[]): Uint8Array {
  const size = depth / 8;
  const line = (row: number): number[] => values.slice(row * width, (row + 1) * width).flatMap((value) => (size === 2 ? [value >> 8, value & 255] : [value]));
  const paeth = (a: number, b: number, c: number): number => [a, b, c].sort((one, two) => Math.abs(a + b - c - one) - Math.abs(a + b - c - two))[0]!;
  const raw = Array.from({ length: height }, (_, row) => {
    const above = row ? line(row - 1) : line(0).map(() => 0);
    return [row % 5, ...line(row).map((byte, at, own) => {
      const [left, up, corner] = [own[at - size] ?? 0, above[at]!, above[at - size] ?? 0];
      return (byte - [0, left, up, (left + up) >> 1, paeth(left, up, corner)][row % 5]!) & 255;
    })];
  });
  const chunk = (kind: string, content: Uint8Array): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(content.length);
    return Buffer.concat([length, Buffer.from(kind), content, Buffer.alloc(4)]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head[8] = depth;
  const data = deflateSync(Buffer.from(raw.flat()));
  return Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), chunk("IHDR", head), chunk("IDAT", data.subarray(0, 9)), chunk("IDAT", data.subarray(9)), chunk("IEND", Buffer.alloc(0))]);
}

for (const depth of [8, 16] as const) {
  test(`classes of a mask of ${depth} bits are those that were logged`, async () => {
    const most = depth === 8 ? 256 : 65536;
    const values = Array.from({ length: 7 * 11 }, (_, at) => (at * at * 37 + at) % most);
    const read = await classesOf(png(7, 11, depth, values));
    assert.deepEqual([read.width, read.height, [...read.values]], [7, 11, values]);
  });
}

test("a file that is no mask is said", async () => {
  await assert.rejects(classesOf(new Uint8Array([0x47, 0x49, 0x46])), /no PNG/);
});

test("a mask whose pixels are not all there is said, whatever size its head tells of", async () => {
  const sound = png(7, 11, 8, Array.from({ length: 77 }, () => 1));
  const headed = (width: number, height: number): Uint8Array => {
    const damaged = new Uint8Array(sound);
    new DataView(damaged.buffer).setUint32(16, width);
    new DataView(damaged.buffer).setUint32(20, height);
    return damaged;
  };
  for (const [width, height] of [[0, 0], [7, 0], [0, 11], [7, 12], [4294967295, 4294967295]] as const) await assert.rejects(classesOf(headed(width, height)), /damaged/);
  await assert.rejects(classesOf(sound.slice(0, 8)));
});

test("what could not be read is asked for again, and the rest is read once", async () => {
  const asked: string[] = [];
  let isThere = false;
  const read = latest(2, async (_, path) => {
    asked.push(path);
    if (!isThere) throw new Error("busy");
    return path;
  });
  await assert.rejects(Promise.all([read("e", "a"), read("e", "a")]), /busy/);
  isThere = true;
  assert.deepEqual(await Promise.all([read("e", "a"), read("e", "a"), read("e", "b"), read("e", "c"), read("e", "a")]), ["a", "a", "b", "c", "a"]);
  assert.deepEqual(asked, ["a", "a", "b", "c", "a"]);
});

test("masks have names, files and the meaning of their classes", () => {
  const [mask, bare] = masksOf({ masks: { truth: { file: { path: "a.png" }, classes: { 1: "cat" } }, odd: { file: { path: "b.png" }, classes: ["ground", "dog"] }, wrong: 3 } });
  assert.deepEqual([mask!.name, mask!.path, mask!.classes.get(1), bare!.classes.get(1)], ["truth", "a.png", "cat", "dog"]);
  assert.deepEqual(masksOf({}), []);
});

test("the ground is clear until it is switched on, and each class has a colour of its own", () => {
  assert.deepEqual([isDrawn([], "truth"), isDrawn([], "truth", 0), isDrawn([], "truth", 2)], [true, false, true]);
  const switched = switchedOver(switchedOver([], "truth/0"), "truth/2");
  assert.deepEqual([isDrawn(switched, "truth", 0), isDrawn(switched, "truth", 2), isDrawn(switched, "other", 2)], [true, false, true]);
  assert.deepEqual(switchedOver(switched, "truth/0"), ["truth/2"]);
  assert.equal(new Set(Array.from({ length: 60 }, (_, value) => tint(value).join())).size, 60);
  const picture = painted(Uint16Array.from([0, 2, 300]), (value) => value > 0);
  assert.deepEqual([...picture.subarray(0, 4)], [0, 0, 0, 0]);
  assert.deepEqual([...picture.subarray(4)], [...tint(2), 255, ...tint(300), 255]);
  assert.deepEqual([...counted(Uint16Array.from([3, 0, 3]))], [[0, 1], [3, 2]]);
});
