/** Experiments as lines over upright axes, one for each param and metric chosen; a range of an axis leaves out others. */
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Field } from "./charts";
import { color } from "./colors";
import { countOf, end, plain } from "./format";
import { brushed, cell, chosen, slot, title } from "./rows";
import { axis } from "./scales";
import { canvasOf, Legend, shade } from "./scatter";
import type { Row } from "./source";
import { change, columnNames, isDark, passed, pick, shown, view } from "./state";

const edges = { side: 50, top: 26, bottom: 16 };
const [height, apart] = [380, 62];
/** How far from an axis its range is drawn by, and a range of fewer pixels is a click. */
const [reach, shortest] = [10, 4];

/** A range that is being marked: the number of its axis, and shares of the axis. */
interface Marking {
  index: number;
  begin: number;
  end: number;
}

export function Parallel() {
  const canvas = useRef<HTMLCanvasElement>(null);
  const front = useRef<HTMLCanvasElement>(null);
  const [room, setRoom] = useState(0);
  const [near, setNear] = useState(-1);
  const [marking, setMarking] = useState<Marking | null>(null);
  const { axes, pick: picks, brush } = view.value;
  const dark = isDark.value;
  // Axes stay as they are while a range on one of them leaves out rows: these stay as well, behind the others.
  const list = passed.value;
  const usual = useMemo(() => {
    // A metric that few have would leave most lines without an end.
    const isCommon = (name: string): boolean => list.filter((row) => cell(row, name) != null).length * 2 >= list.length;
    return chosen(list).filter((name) => name.startsWith("params.") || (name.startsWith("metrics.") && isCommon(name)));
  }, [list]);
  const names = axes.length > 1 ? [...axes] : usual;
  const kept = useMemo(() => new Set(shown.value), [shown.value]);
  // Not anew for each movement of the pointer: there may be ten thousand rows.
  const scales = useMemo(() => names.map((name) => axis(list.map((row) => cell(row, name)), /(^|[._/])(lr|learning_rate|wd|weight_decay)$/.test(name), 5)), [list, names.join()]);
  const last = scales[scales.length - 1];
  // Where axes would lie too close for their names, one scrolls.
  const width = room && Math.max(room, names.length * apart);
  const x = (at: number): number => edges.side + (names.length > 1 ? (at / (names.length - 1)) * (width - 2 * edges.side) : 0);
  const y = (at: number): number => edges.top + (1 - at) * (height - edges.top - edges.bottom);
  const by = names[names.length - 1] ?? "";
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setRoom(Math.floor(entry!.contentRect.width)));
    observer.observe(canvas.current!.parentElement!);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const ctx = canvasOf(canvas.current!, width, height);
    if (!ctx || !last) return;
    ctx.font = "11px system-ui, sans-serif";
    const order = list.map((row) => ({ row, mine: slot(picks, row.id) })).sort((one, two) => Number(one.mine >= 0) - Number(two.mine >= 0));
    for (const { row } of order) if (!kept.has(row)) trace(ctx, row, false, dark ? "#2e3035" : "#e6e4de");
    for (const { row, mine } of order) {
      if (!kept.has(row)) continue;
      ctx.globalAlpha = mine >= 0 ? 1 : picks.length ? 0.3 : 0.75;
      trace(ctx, row, mine >= 0);
    }
    ctx.globalAlpha = 1;
    scales.forEach((scale, index) => {
      ctx.strokeStyle = dark ? "#4a4c52" : "#cfcdc6";
      ctx.lineWidth = 1;
      ctx.strokeRect(x(index), y(1), 0, y(0) - y(1));
      ctx.fillStyle = dark ? "#e7e5e0" : "#1e1e1c";
      ctx.textAlign = index === 0 ? "left" : index === names.length - 1 ? "right" : "center";
      const room = (width - 2 * edges.side) / Math.max(names.length - 1, 1);
      const heading = title(names[index]!);
      const fits = Math.max(Math.floor(room / 6.5), 6);
      ctx.fillText(heading.length > fits ? `…${heading.slice(1 - fits)}` : heading, index === 0 ? 4 : index === names.length - 1 ? width - 4 : x(index), 13);
      ctx.textAlign = "left";
      for (const mark of scale.marks) {
        const wide = ctx.measureText(mark.label.slice(0, 10)).width;
        ctx.fillStyle = dark ? "#1b1c1fd0" : "#ffffffd0";
        ctx.fillRect(x(index) + 4, y(mark.at) - 7, wide + 4, 14);
        ctx.fillStyle = dark ? "#a5a29b" : "#66645e";
        ctx.fillText(mark.label.slice(0, 10), x(index) + 6, y(mark.at) + 4);
      }
    });
  }, [width, list, shown.value, names.join(), picks, dark]);
  useEffect(() => {
    const ctx = canvasOf(front.current!, width, height);
    if (!ctx) return;
    if (list[near] && !marking) trace(ctx, list[near]!, true);
    names.forEach((name, index) => {
      const ends = endsOf(name, index);
      if (!ends) return;
      const [top, bottom] = [y(ends[1]) - 3, y(ends[0]) + 3];
      ctx.fillStyle = ctx.strokeStyle = dark ? "#8fb0ff" : "#2b57c4";
      ctx.lineWidth = 1.5;
      ctx.globalAlpha = 0.22;
      ctx.fillRect(x(index) - 7, top, 14, bottom - top);
      ctx.globalAlpha = 1;
      ctx.strokeRect(x(index) - 7, top, 14, bottom - top);
    });
  }, [width, list, names.join(), picks, dark, near, marking, brush]);
  /** Ends of the range on an axis, as shares; that which is being marked counts first. */
  const endsOf = (name: string, index: number): [number, number] | null => {
    if (marking?.index === index) return [Math.min(marking.begin, marking.end), Math.max(marking.begin, marking.end)];
    const own = brush.find((range) => range.column === name);
    if (!own) return null;
    const [from, to] = [scales[index]!.of(own.from), scales[index]!.of(own.to)].map((share) => Math.min(Math.max(share, 0), 1)) as [number, number];
    return from === from && to === to ? [from, to] : null;
  };
  const trace = (ctx: CanvasRenderingContext2D, row: Row, isFront: boolean, tint = ""): void => {
    const mine = slot(picks, row.id);
    ctx.strokeStyle = tint || (mine >= 0 ? color(mine, dark) : shade(last!, cell(row, by)));
    ctx.lineWidth = isFront ? 2.5 : 1.2;
    ctx.beginPath();
    let open = false;
    scales.forEach((scale, index) => {
      const share = scale.at(cell(row, names[index]!));
      // Where an experiment has no value its line has a gap.
      if (share !== share) open = false;
      else if (open) ctx.lineTo(x(index), y(share));
      else {
        ctx.moveTo(x(index), y(share));
        open = true;
      }
    });
    ctx.stroke();
  };
  const nearest = (event: MouseEvent): number => {
    const inside = canvas.current!.getBoundingClientRect();
    const [mouseX, mouseY] = [event.clientX - inside.left, event.clientY - inside.top];
    const room = (width - 2 * edges.side) / Math.max(names.length - 1, 1);
    const index = Math.min(Math.max(Math.floor((mouseX - edges.side) / room), 0), names.length - 2);
    const share = (mouseX - x(index)) / room;
    let best = -1;
    let least = 12;
    list.forEach((row, at) => {
      if (!kept.has(row)) return;
      const [a, b] = [scales[index]!.at(cell(row, names[index]!)), scales[index + 1]!.at(cell(row, names[index + 1]!))];
      const away = Math.abs(y(a) + (y(b) - y(a)) * share - mouseY);
      if (away < least) [best, least] = [at, away];
    });
    return best;
  };
  const shareAt = (event: PointerEvent): number => Math.min(Math.max(1 - (event.clientY - canvas.current!.getBoundingClientRect().top - edges.top) / (height - edges.top - edges.bottom), 0), 1);
  const axisAt = (event: PointerEvent): number => names.findIndex((_, index) => Math.abs(event.clientX - canvas.current!.getBoundingClientRect().left - x(index)) <= reach);
  const onPointerDown = (event: PointerEvent): void => {
    const index = axisAt(event);
    // A finger scrolls the page here.
    if (event.button || index < 0 || event.pointerType === "touch") return;
    event.preventDefault();
    canvas.current!.setPointerCapture(event.pointerId);
    setMarking({ index, begin: shareAt(event), end: shareAt(event) });
  };
  const onPointerMove = (event: PointerEvent): void => {
    if (marking) setMarking({ ...marking, end: shareAt(event) });
    else if (names.length > 1) setNear(nearest(event));
    canvas.current!.style.cursor = marking || axisAt(event) >= 0 ? "ns-resize" : "";
  };
  const onPointerUp = (event: PointerEvent): void => {
    const done = marking && ([Math.min(marking.begin, shareAt(event)), Math.max(marking.begin, shareAt(event))] as const);
    const name = names[marking?.index ?? -1];
    setMarking(null);
    if (done && name && (done[1] - done[0]) * (height - edges.top - edges.bottom) >= shortest) change({ brush: brushed(brush, name, [scales[marking.index]!.text(done[0]), scales[marking.index]!.text(done[1])]) });
    else if (name && brush.some((range) => range.column === name)) change({ brush: brushed(brush, name, null) });
    else {
      const at = names.length > 1 ? nearest(event) : -1;
      if (at >= 0) pick(list[at]!.id);
    }
  };
  const bent = names.filter((_, index) => scales[index]!.kind === "arcsinh").map(title);
  const said = `${countOf(shown.value.length, list.length, "experiment")} over ${names.map(title).join(", ")}, coloured by ${title(by)}.`;
  const row = list[near];
  return (
    <>
      <div class="choices">
        <Field key={names.join()} wide label="add" placeholder="param or metric" options={columnNames.value} value="" onChange={(text) => text && change({ axes: [...names.filter((name) => name !== text), text] })} />
        {names.map((name) => <button type="button" class="chip" key={name} title={`leave out ${name}`} onClick={() => change({ axes: names.filter((one) => one !== name) })}>{title(name)} ×</button>)}
      </div>
      <div class="panel">
        <div class="scatter across">
          <canvas ref={canvas} role="img" aria-label={said} style={{ height: `${height}px`, width: `${width}px` }} onPointerDown={onPointerDown} onPointerMove={onPointerMove} onPointerUp={onPointerUp} onPointerCancel={() => setMarking(null)} onPointerLeave={() => setNear(-1)} />
          <canvas ref={front} class="front" aria-hidden="true" style={{ height: `${height}px`, width: `${width}px` }} />
        </div>
        <p class="readout">{row ? <span><b>{row.name}</b> <em>{names.map((name) => `${title(name)} ${plain(cell(row, name))}`).join(", ")}</em></span> : null}</p>
        {last && <Legend of={title(by)} values={list.map((one) => cell(one, by))} by={last} />}
        <p class="foot">{said} A click picks; dragged along an axis, the pointer marks a range, and the list has the rows inside.{bent.length > 0 && ` ${bent.join(", ")}: arcsinh axis, for zeros or negative values.`}</p>
        <details>
          <summary>Ranges</summary>
          {names.map((name, index) => {
            const own = brush.find((range) => range.column === name);
            const set = (from: string, to: string): void => change({ brush: brushed(brush, name, from || to ? [from || scales[index]!.text(0), to || scales[index]!.text(1)] : null) });
            return (
              <p class="between" key={name}>
                <Field label={`${title(name)} from`} options={[]} placeholder={end(scales[index]!.text(0))} value={own?.from ?? ""} onChange={(text) => set(text, own?.to ?? "")} />
                <Field label="to" name={`${title(name)} to`} options={[]} placeholder={end(scales[index]!.text(1))} value={own?.to ?? ""} onChange={(text) => set(own?.from ?? "", text)} />
              </p>
            );
          })}
        </details>
      </div>
    </>
  );
}
