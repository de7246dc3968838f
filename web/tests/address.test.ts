import assert from "node:assert/strict";
import test from "node:test";
import { address, recolored, start, toggle, view, type View } from "../src/address";

function read(text: string): View {
  const url = new URL(text, "http://localhost/token/");
  return view(url.pathname, url.search, url.hash);
}

test("an address leads back to its view", () => {
  const wanted: View = {
    ...start, where: "params.lr < 0.1 and name = 'a,b'", q: "über", sort: ["-metrics.acc.max", "a,b"], cols: ["name", "params.a%2Cb"],
    pick: [{ id: "8a1c8f30", slot: 0 }, { id: "5d0ab0a3", slot: 12 }], m: ["train/*", "val/acc"], x: "at.epoch", y: "log", smooth: 0.6,
    zoom: [-100.5, 9e5], robust: true, crowd: false, panel: "scatter", step: 0, axes: ["params.lr", "metrics.acc"], sql: "select 1",
    archived: true, asof: "2026-11-30T05:00:00Z", fresh: true, open: ["8a1c8f30"], group: "seed", pin: ["name"], starred: true, lx: true, over: ["seed", "a,b"], media: ["test/*"],
    masks: ["truth", "truth/0"], brush: [{ column: "params.lr", from: "0.001", to: "0.1" }, { column: "metrics.system:cpu", from: "-1e-7", to: "3" }, { column: "name", from: "a:b,c", to: "100%" }],
  };
  assert.deepEqual(read(address(wanted)), wanted);
});

test("an address can be read, is in order, and leaves out defaults", () => {
  assert.equal(address(start), "");
  assert.equal(
    address({ ...start, m: ["train/*", "val/acc"], pick: [{ id: "8a1c8f30", slot: 0 }], where: "params.lr = 1" }),
    "?m=train/*,val/acc&pick=8a1c8f30.0&where=params.lr+=+1",
  );
});

test("a range on an axis can be read, and one that is none is passed over", () => {
  assert.equal(address({ ...start, brush: [{ column: "params.lr", from: "0.001", to: "0.1" }] }), "?brush=params.lr:0.001:0.1");
  assert.deepEqual(read("?brush=params.lr:0.1,:1:2,x:1:").brush, []);
});

test("a page of one experiment has a path and a part of its own", () => {
  const wanted: View = { ...start, exp: "8a1c8f30", tab: "console", line: "rk3v9x2m.17" };
  assert.equal(address(wanted), "e/8a1c8f30?line=rk3v9x2m.17#console");
  assert.deepEqual(read(address(wanted)), wanted);
});

test("values that make no sense are passed over", () => {
  assert.equal(read("e/%E0%A4%A").exp, "%E0%A4%A");
  assert.deepEqual(read("?masks=%25zz&brush=%25zz:%25zz:1"), { ...start, masks: ["%zz"], brush: [{ column: "%zz", from: "%zz", to: "1" }] });
  assert.deepEqual(read("?zoom=9,1&smooth=x&pick=a.0,b.0,a.1,c&panel=evil&step=&y=3"), { ...start, pick: [{ id: "a", slot: 0 }] });
});

test("a pick takes the first free colour and changes no other", () => {
  let chosen = toggle(toggle(toggle([], "a"), "b"), "c");
  assert.deepEqual(chosen.map((pick) => pick.slot), [0, 1, 2]);
  chosen = toggle(chosen, "b");
  assert.deepEqual(chosen, [{ id: "a", slot: 0 }, { id: "c", slot: 2 }]);
  assert.deepEqual(toggle(chosen, "d")[2], { id: "d", slot: 1 });
  assert.deepEqual([toggle(chosen, "d", 7)[2]!.slot, toggle(chosen, "d", 2)[2]!.slot], [7, 1], "its reader's colour, unless another has it");
});

test("another colour is one that nobody has, and the others stay", () => {
  const chosen = [{ id: "a", slot: 0 }, { id: "b", slot: 1 }, { id: "c", slot: 9 }];
  assert.deepEqual(recolored(chosen, "a"), [{ id: "a", slot: 2 }, chosen[1], chosen[2]]);
  assert.deepEqual(recolored(chosen, "c"), [chosen[0], chosen[1], { id: "c", slot: 2 }]);
  const many = Array.from({ length: 12 }, (_, slot) => ({ id: String(slot), slot }));
  assert.equal(recolored(many, "11")[11]!.slot, 12);
});
