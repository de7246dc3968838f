/** Masks over images: the class of each pixel, read from the file as it was logged, and the picture of it. */
import { color, slots } from "./colors";

export interface Mask {
  name: string;
  path: string;
  /** The meaning of classes, by their number. */
  classes: ReadonlyMap<number, string>;
}

export interface Classes {
  width: number;
  height: number;
  /** The class of each pixel, row by row. */
  values: Uint16Array;
}

/** List the masks of an image. */
export function masksOf(data: Readonly<Record<string, unknown>>): Mask[] {
  const all = (typeof data.masks === "object" && data.masks) || {};
  return Object.entries(all as Record<string, { file?: { path?: unknown }; classes?: unknown }>).flatMap(([name, mask]): Mask[] => {
    const path = mask?.file?.path;
    const classes = Object.entries((typeof mask?.classes === "object" && mask.classes) || {});
    return typeof path === "string" ? [{ name, path, classes: new Map(classes.map(([key, meaning]) => [Number(key), String(meaning)])) }] : [];
  });
}

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/**
 * Read a grey PNG of 8 or 16 bits. A canvas would have eight of them at most, and some browsers blur what is read
 * from it.
 */
export async function classesOf(bytes: Uint8Array): Promise<Classes> {
  const all = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (!signature.every((byte, at) => bytes[at] === byte)) throw new Error("The file of the mask is no PNG.");
  const data: Uint8Array[] = [];
  let [width, height, depth] = [0, 0, 0];
  for (let at = 8; at + 12 <= bytes.length; at += 12 + all.getUint32(at)) {
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const content = bytes.subarray(at + 8, at + 8 + all.getUint32(at));
    if (kind === "IDAT") data.push(content);
    if (kind !== "IHDR") continue;
    [width, height, depth] = [all.getUint32(at + 8), all.getUint32(at + 12), bytes[at + 16]!];
    const [form, interlace] = [bytes[at + 17], bytes[at + 20]];
    if (form !== 0 || interlace !== 0 || (depth !== 8 && depth !== 16)) throw new Error("The mask is no grey PNG of 8 or 16 bits.");
  }
  const inflated = new Blob(data as BlobPart[]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new Uint8Array(await new Response(inflated).arrayBuffer());
  const wide = (width * depth) / 8;
  // Before memory is taken for its pixels: the head of a damaged file may tell of any number.
  if (!wide || !height || raw.length < (wide + 1) * height) throw new Error("The file of the mask is damaged.");
  const lines = unfiltered(raw, wide, height, depth / 8);
  const values = depth === 8 ? Uint16Array.from(lines) : Uint16Array.from({ length: width * height }, (_, at) => lines[2 * at]! * 256 + lines[2 * at + 1]!);
  return { width, height, values };
}

/** Make a reader that keeps its latest answers, and asks again for what it could not get. */
export function latest<T>(most: number, read: (id: string, path: string) => Promise<T>): (id: string, path: string) => Promise<T> {
  const kept = new Map<string, Promise<T>>();
  return (id, path) => {
    const key = `${id} ${path}`;
    const answer = kept.get(key) ?? read(id, path);
    kept.delete(key);
    kept.set(key, answer);
    for (const oldest of kept.keys()) if (kept.size > most) kept.delete(oldest);
    answer.catch(() => kept.get(key) === answer && kept.delete(key));
    return answer;
  };
}

/** Undo the filters of a PNG's lines, each of which says how it differs from the pixel at its left and from those above. */
function unfiltered(raw: Uint8Array, wide: number, height: number, size: number): Uint8Array {
  const out = new Uint8Array(wide * height);
  for (let row = 0; row < height; row += 1) {
    const filter = raw[row * (wide + 1)];
    for (let column = 0; column < wide; column += 1) {
      const at = row * wide + column;
      const left = column >= size ? out[at - size]! : 0;
      const up = row ? out[at - wide]! : 0;
      const corner = row && column >= size ? out[at - wide - size]! : 0;
      out[at] = raw[at + row + 1]! + [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter!]!;
    }
  }
  return out;
}

function paeth(left: number, up: number, corner: number): number {
  const away = [left, up, corner].map((one) => Math.abs(left + up - corner - one)) as [number, number, number];
  return away[0] <= away[1] && away[0] <= away[2] ? left : away[1] <= away[2] ? up : corner;
}

/** Count the pixels of each class, in the order of their numbers. */
export function counted(values: Uint16Array): Map<number, number> {
  const counts = new Uint32Array(65536);
  for (const value of values) counts[value]! += 1;
  return new Map([...counts.entries()].filter(([, count]) => count));
}

/** Choose the colour of a class, as red, green and blue: those of picked experiments in the light, then others around the circle. */
export function tint(value: number): [number, number, number] {
  if (value > 0 && value <= slots) {
    const hex = parseInt(color(value - 1, false).slice(1), 16);
    return [hex >> 16, (hex >> 8) & 255, hex & 255];
  }
  // Steps of the golden angle: wherever one stops, the hues lie well apart.
  const hue = (value * 137.508) % 360;
  const light = value % 2 ? 0.42 : 0.6;
  const channel = (shift: number): number => {
    const at = (shift + hue / 30) % 12;
    return Math.round(255 * (light - 0.65 * Math.min(light, 1 - light) * Math.max(-1, Math.min(at - 3, 9 - at, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** Paint the classes that are drawn, as red, green, blue and opacity of each pixel. */
export function painted(values: Uint16Array, isShown: (value: number) => boolean): Uint8ClampedArray<ArrayBuffer> {
  const out = new Uint8ClampedArray(4 * values.length);
  const tints = new Map([...counted(values).keys()].filter(isShown).map((value) => [value, tint(value)]));
  values.forEach((value, at) => {
    const own = tints.get(value);
    if (own) out.set([...own, 255], 4 * at);
  });
  return out;
}

/** Check whether a class is drawn: 0, mostly the ground, is clear, and a reader may switch each class and each mask over. */
export function isDrawn(switched: readonly string[], mask: string, value?: number): boolean {
  if (value === undefined) return !switched.includes(mask);
  return (value !== 0) !== switched.includes(`${mask}/${value}`);
}

/** Switch a mask, or a class of it, over. */
export function switchedOver(switched: readonly string[], key: string): string[] {
  return switched.includes(key) ? switched.filter((one) => one !== key) : [...switched, key];
}
