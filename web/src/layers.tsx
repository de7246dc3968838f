/** Masks drawn over an image, and the classes that they have. */
import { useEffect, useRef, useState } from "preact/hooks";
import { groups } from "./format";
import { classesOf, counted, isDrawn, latest, painted, switchedOver, tint, type Classes, type Mask } from "./masks";
import { fileBytes } from "./source";
import { change, view } from "./state";

/** Read a mask, or take one of the latest that were read: the layer and the legend of an image share it. */
const read = latest(24, async (id, path) => classesOf(await fileBytes(id, path)));

interface State {
  path: string;
  classes: Classes | null;
  problem: string;
}

function useClasses(id: string, path: string): State {
  const [state, setState] = useState<State>({ path: "", classes: null, problem: "" });
  useEffect(() => {
    let isWanted = true;
    const set = (next: State): false | void => isWanted && setState(next);
    read(id, path).then((classes) => set({ path, classes, problem: "" }), (error: Error) => set({ path, classes: null, problem: error.message }));
    return () => {
      isWanted = false;
    };
  }, [id, path]);
  return state.path === path ? state : { path, classes: null, problem: "" };
}

/** A mask over its image. */
export function Layer({ id, mask }: { id: string; mask: Mask }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { classes } = useClasses(id, mask.path);
  const { masks } = view.value;
  useEffect(() => {
    const ctx = canvas.current?.getContext("2d");
    if (!ctx || !classes) return;
    const { width, height, values } = classes;
    [ctx.canvas.width, ctx.canvas.height] = [width, height];
    ctx.putImageData(new ImageData(painted(values, (value) => isDrawn(masks, mask.name, value)), width, height), 0, 0);
  }, [classes, masks.join(), mask.name]);
  return <canvas ref={canvas} class="mask" aria-hidden="true" />;
}

const mostClasses = 60;

/** The classes of a mask, with the share of the pixels that each has; a click switches one, or the whole mask. */
export function Legend({ id, mask }: { id: string; mask: Mask }) {
  const { classes, problem } = useClasses(id, mask.path);
  const { masks } = view.value;
  const counts = classes ? counted(classes.values) : new Map<number, number>();
  const isOn = isDrawn(masks, mask.name);
  const toggle = (key: string): void => change({ masks: switchedOver(masks, key) });
  return (
    <div class="classes" role="group" aria-label={`Mask ${mask.name}`}>
      <button type="button" class="chip" aria-pressed={isOn} onClick={() => toggle(mask.name)}>{mask.name}</button>
      {problem && <small class="bad">{problem}</small>}
      {isOn && [...counts].slice(0, mostClasses).map(([value, size]) => (
        <button type="button" key={value} aria-pressed={isDrawn(masks, mask.name, value)} onClick={() => toggle(`${mask.name}/${value}`)}>
          <i style={{ background: `rgb(${tint(value).join(" ")})` }} />{mask.classes.get(value) ?? value} <small>{share(size / classes!.values.length)}</small>
        </button>
      ))}
      {isOn && counts.size > mostClasses && <small>and {groups(counts.size - mostClasses)} more</small>}
    </div>
  );
}

function share(of: number): string {
  return of < 0.005 ? "< 1 %" : `${Math.round(of * 100)} %`;
}
