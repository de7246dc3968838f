/** Experiments as lines over upright axes, one for each param and metric chosen. */
import { useEffect, useRef, useState } from "preact/hooks";
import { Field } from "./charts";
import { color } from "./colors";
import { count, plain } from "./format";
import { cell, chosen, slot, title } from "./rows";
import { axis } from "./scales";
import { canvasOf, Legend, shade } from "./scatter";
import type { Row } from "./source";
import { change, columnNames, isDark, pick, shown, view } from "./state";

const edges = { side: 50, top: 26, bottom: 16 };
const height = 380;

export function Parallel() {
  const canvas = useRef<HTMLCanvasElement>(null);
  const front = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const [near, setNear] = useState(-1);
  const { axes, pick: picks } = view.value;
  const dark = isDark.value;
  // A metric that few have would leave most lines without an end.
  const isCommon = (name: string): boolean => shown.value.filter((row) => cell(row, name) != null).length * 2 >= shown.value.length;
  const usual = chosen(shown.value).filter((name) => name.startsWith("params.") || (name.startsWith("metrics.") && isCommon(name)));
  const names = axes.length > 1 ? [...axes] : usual;
  const list = shown.value;
  const scales = names.map((name) => axis(list.map((row) => cell(row, name)), /(^|[._/])(lr|learning_rate|wd|weight_decay)$/.test(name), 5));
  const last = scales[scales.length - 1];
  const x = (at: number): number => edges.side + (names.length > 1 ? (at / (names.length - 1)) * (width - 2 * edges.side) : 0);
  const y = (at: number): number => edges.top + (1 - at) * (height - edges.top - edges.bottom);
  const by = names[names.length - 1] ?? "";
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    observer.observe(canvas.current!.parentElement!);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const ctx = canvasOf(canvas.current!, width, height);
    if (!ctx || !last) return;
    ctx.font = "11px system-ui, sans-serif";
    const order = list.map((row) => ({ row, mine: slot(picks, row.id) })).sort((one, two) => Number(one.mine >= 0) - Number(two.mine >= 0));
    for (const { row, mine } of order) {
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
  }, [width, list, names.join(), picks, dark]);
  useEffect(() => {
    const ctx = canvasOf(front.current!, width, height);
    if (ctx && list[near]) trace(ctx, list[near]!, true);
  }, [width, list, names.join(), picks, dark, near]);
  const trace = (ctx: CanvasRenderingContext2D, row: Row, isFront: boolean): void => {
    const mine = slot(picks, row.id);
    ctx.strokeStyle = mine >= 0 ? color(mine, dark) : shade(last!, cell(row, by));
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
      const [a, b] = [scales[index]!.at(cell(row, names[index]!)), scales[index + 1]!.at(cell(row, names[index + 1]!))];
      const away = Math.abs(y(a) + (y(b) - y(a)) * share - mouseY);
      if (away < least) [best, least] = [at, away];
    });
    return best;
  };
  const said = `${count(list.length, "experiment")} over ${names.map(title).join(", ")}, coloured by ${title(by)}.`;
  const row = list[near];
  return (
    <>
      <div class="choices">
        <Field key={names.join()} wide label="add" placeholder="param or metric" options={columnNames.value} value="" onChange={(text) => text && change({ axes: [...names.filter((name) => name !== text), text] })} />
        {names.map((name) => <button type="button" class="chip" key={name} title={`leave out ${name}`} onClick={() => change({ axes: names.filter((one) => one !== name) })}>{title(name)} ×</button>)}
      </div>
      <div class="panel">
        <div class="scatter">
          <canvas ref={canvas} role="img" aria-label={said} style={{ height: `${height}px`, width: "100%" }} onMouseMove={(event) => names.length > 1 && setNear(nearest(event))} onMouseLeave={() => setNear(-1)} onClick={(event) => {
            const at = names.length > 1 ? nearest(event) : -1;
            if (at >= 0) pick(list[at]!.id);
          }} />
          <canvas ref={front} class="front" aria-hidden="true" style={{ height: `${height}px`, width: "100%" }} />
        </div>
        <p class="readout">{row ? <span><b>{row.name}</b> <em>{names.map((name) => `${title(name)} ${plain(cell(row, name))}`).join(", ")}</em></span> : null}</p>
        {last && <Legend of={title(by)} values={list.map((one) => cell(one, by))} by={last} />}
        <p class="foot">{said} A click picks.</p>
      </div>
    </>
  );
}
