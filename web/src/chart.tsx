/** One chart: its curves, its tools, the values under the pointer, and its table. */
import { useEffect, useRef, useState } from "preact/hooks";
import type uPlot from "uplot";
import { color, dashes, mixed } from "./colors";
import { columnOf, grown, type Points } from "./news";
import { ends, nearest, outside, targetOf, type Curve } from "./columns";
import { count, number } from "./format";
import { csv, isFolder } from "./folder";
import { listen } from "./live";
import { plot, point, remove, renew, ticks, type Scene } from "./plot";
import { across, bandNames, footer, lastOf, sentence } from "./readings";
import { drawn, slot } from "./rows";
import { curves as fetchCurves, json, pointsAddress, type Band, type CurveAnswer } from "./source";
import { change, cursor, isDark, rows, view, watched } from "./state";
import { svg } from "./vector";

function grounds(): { ground: string; grey: string; rule: string; text: string } {
  return isDark.value
    ? { ground: "#1b1c1f", grey: "#4a4c52", rule: "#2b2d31", text: "#a5a29b" }
    : { ground: "#ffffff", grey: "#cfcdc6", rule: "#eceae5", text: "#66645e" };
}

function save(name: string, url: string): void {
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = name;
  anchor.click();
}

function saveText(name: string, text: string, type: string): void {
  save(name, URL.createObjectURL(new Blob([text], { type })));
}

/** Find the slot of a band: that of a picked member, or the first that no other has. */
function bandSlots(bands: readonly Band[]): number[] {
  const own = bands.map((band) => Math.max(-1, ...band.members.map((id) => slot(view.value.pick, id))));
  const taken = new Set(own);
  let next = 0;
  return own.map((mine) => {
    if (mine >= 0) return mine;
    while (taken.has(next)) next += 1;
    taken.add(next);
    return next;
  });
}

export interface ChartProps {
  metric: string;
  ids: readonly string[];
  /** Axis where it is no choice of the reader: metrics of the machine know the time only. */
  axis?: string;
}

export function Chart({ metric, ids, axis }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const figure = useRef<HTMLElement>(null);
  const made = useRef<uPlot | null>(null);
  const scene = useRef<Scene | null>(null);
  const [answer, setAnswer] = useState<CurveAnswer | null>(null);
  const [refused, setRefused] = useState("");
  const [width, setWidth] = useState(0);
  const [isNear, setNear] = useState(false);
  const [asTable, setAsTable] = useState(false);
  const [version, setVersion] = useState(0);
  const { exp, y, lx, smooth, zoom, robust, asof, crowd: withCrowd } = view.value;
  const x = axis ?? view.value.x;
  const over = axis || exp ? "" : view.value.over.join(",");
  const isLogX = lx && x !== "time";
  const dark = isDark.value;
  const name = (id: string): string => rows.value.get(id)?.name || id.slice(0, 8);

  useEffect(() => {
    const element = figure.current!;
    const size = new ResizeObserver(() => setWidth(Math.floor(box.current?.clientWidth ?? element.clientWidth)));
    // A chart asks for its points only once it comes near the screen.
    const sight = new IntersectionObserver((entries) => setNear(entries.some((entry) => entry.isIntersecting)), { rootMargin: "200px" });
    size.observe(element);
    sight.observe(element);
    return () => {
      size.disconnect();
      sight.disconnect();
    };
  }, []);

  const latest = useRef(answer);
  // A point that comes while an answer is on its way may not be in it.
  const isAsking = useRef(false);
  const isOvertaken = useRef(false);
  const again = useRef<() => void>(() => undefined);

  // Moment of the newest line of those whose points do not come by themselves: points are asked for again when it moves.
  const newest = zoom || asof ? 0 : Math.max(0, ...ids.map((id) => (watched.value.has(id) ? 0 : rows.value.get(id)?.age || 0)));
  const columns = Math.max(Math.floor((width - 68) * devicePixelRatio), 50);
  useEffect(() => {
    if (!isNear || !width || !ids.length) return undefined;
    const asking = new AbortController();
    isAsking.current = true;
    isOvertaken.current = false;
    fetchCurves({ ids, metric, x, zoom, columns, smooth, isLog: isLogX, over, asof }, asking.signal).then(
      (next) => {
        isAsking.current = false;
        setAnswer(next);
        setRefused("");
        if (isOvertaken.current) again.current();
      },
      (error: Error) => {
        if (error.name === "AbortError") return;
        isAsking.current = false;
        setRefused(error.message);
      },
    );
    return () => asking.abort();
  }, [isNear, width > 0 && columns, ids.join(), metric, x, zoom?.join(), smooth, isLogX, over, asof, newest, version]);

  latest.current = answer;
  useEffect(() => {
    if (!isNear || asof) return undefined;
    let queue: Points[] = [];
    let frame = 0;
    let timer = 0;
    let asked = 0;
    again.current = () => {
      // Often enough to look alive, and no more often than once a second.
      if (timer) return;
      timer = window.setTimeout(() => {
        timer = 0;
        asked = performance.now();
        setVersion((before) => before + 1);
      }, Math.max(0, asked + 1000 - performance.now()));
    };
    const draw = (): void => {
      frame = 0;
      const mine = queue;
      queue = [];
      const next = latest.current && !over && !isLogX ? grown(latest.current, mine, x, zoom !== null) : null;
      if (next) {
        latest.current = next;
        setAnswer(next);
      }
      if (!next || next.x.length > 1.5 * columns) again.current();
    };
    const stop = listen((message) => {
      if (message.name === "hello") {
        if (ids.some((id) => watched.peek().has(id))) again.current();
      } else if (message.name === "stale") {
        if (ids.includes(message.id) && (message.m ?? metric) === metric) again.current();
      } else if (message.name === "points" && message.m === metric && ids.includes(message.id)) {
        if (isAsking.current) {
          isOvertaken.current = true;
          return;
        }
        queue.push(message);
        frame ||= requestAnimationFrame(draw);
      }
    });
    return () => {
      stop();
      cancelAnimationFrame(frame);
      clearTimeout(timer);
    };
  }, [isNear, columns, ids.join(), metric, x, zoom?.join(), smooth, isLogX, over, asof]);

  const shown = (answer?.curves ?? []).filter((curve) => curve.points > 0);
  const range = ends(shown, robust);
  const isArcsinh = y === "log" && range !== null && range[0] <= 0;
  const hidden = robust && range ? outside(shown, range[0], range[1]) : 0;
  const bands = answer?.bands ?? [];
  const names = bandNames(bands);
  const slots = bandSlots(bands);
  const stroke = (at: number): { color: string; dash: number[] } => ({ color: color(at, dark), dash: dashes(at) });
  const { ground, grey, rule, text } = grounds();
  if (answer) {
    const isLine = (curve: Curve): boolean => drawn(view.value, curve.id) >= 0 && !bands.length;
    scene.current = {
      answer,
      crowd: bands.length && !withCrowd ? [] : shown.filter((curve) => !isLine(curve)),
      lines: shown.filter(isLine).map((curve) => ({ curve, ...stroke(drawn(view.value, curve.id)) })),
      bands: bands.map((band, at) => ({ band, ...stroke(slots[at]!) })),
      low: range?.[0] ?? 1, high: range?.[1] ?? 2, isSmooth: smooth > 0,
    };
  }
  const isDrawn = answer !== null && width > 0 && !asTable;
  // What a plot is made anew for; new points alone are put into the one that is there.
  const build = [isDrawn, width, scene.current?.lines.map((line) => line.curve.id + line.color).join(), bands.map((_, at) => slots[at]).join(), y, isArcsinh, isLogX, dark, x, withCrowd].join("|");
  useEffect(() => {
    if (!isDrawn || !box.current || !scene.current) return undefined;
    const own = plot(box.current, scene as { current: Scene }, {
      width, height: 200, axis: x, isLogX, scale: y === "log" ? (isArcsinh ? "arcsinh" : "log") : "linear", ground, grey, rule, text, pale: (hex) => mixed(hex, ground, 0.3),
    }, {
      moved: (at) => (cursor.value = at),
      zoomed: (from, to) => change({ zoom: [Number(from.toPrecision(8)), Number(to.toPrecision(8))] }),
      left: () => change({ zoom: null }),
      clicked: (at, pixel) => void open(at, pixel),
    });
    made.current = own;
    return () => {
      remove(own);
      made.current = null;
    };
  }, [build]);
  useEffect(() => {
    if (made.current && scene.current) renew(made.current, scene.current);
  }, [answer, robust, smooth, withCrowd]);

  /** Lead to the line of the log with the point nearest to a position, or with the mark that is there. */
  const open = async (at: number, pixel: number): Promise<void> => {
    const u = made.current;
    const current = scene.current;
    if (!u || !current) return;
    const candidates = current.lines.length ? current.lines.map((line) => line.curve) : shown;
    const target = targetOf(candidates, columnOf(current.answer.x, at), pixel, u.over.clientHeight, (value) => u.valToPos(value, "y"));
    if (!target) return;
    const { x: grid, to: end } = current.answer;
    const [from, to] = [grid[target.column]!, grid[target.column + 1] ?? end];
    // Both sides compute where columns begin, and may differ in the last digit.
    const slack = (Math.abs(from) + Math.abs(to)) * 1e-12;
    try {
      const line = await json<{ event: { run: string; seq: number } }>(`exp/${target.id}/line`, { m: metric, x, from: String(from - slack), to: String(to + slack), y: String(target.y), asof });
      change({ exp: target.id, tab: "events", line: `${line.event.run}.${line.event.seq}` });
    } catch (error) {
      setRefused((error as Error).message);
    }
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    const u = made.current;
    const current = scene.current;
    if (!u || !current || event.ctrlKey || event.metaKey || event.altKey || (event.target as Element).closest("button")) return;
    const grid = current.answer.x;
    const at = columnOf(grid, cursor.peek() ?? grid[grid.length - 1]!);
    const stride = Math.max(1, Math.round(grid.length / 50));
    const [low, high] = [grid[0]!, grid[grid.length - 1]!];
    const center = cursor.peek() ?? (low + high) / 2;
    const step = { ArrowLeft: -stride, ArrowRight: stride }[event.key];
    if (step) {
      cursor.value = grid[Math.min(Math.max(at + step, 0), grid.length - 1)]!;
      point(u, cursor.value);
    } else if (event.key === "+") change({ zoom: [Math.max(low, center - (high - low) / 4), Math.min(high, center + (high - low) / 4)].map((value) => Number(value.toPrecision(8))) as [number, number] });
    else if (event.key === "-") change({ zoom: null });
    else if (event.key === "Enter") void open(center, u.valToPos(current.lines[0]?.curve.last[nearest(current.lines[0].curve, at)] ?? 0, "y"));
    else return;
    event.preventDefault();
    event.stopPropagation();
  };

  const file = metric.replace(/\W+/g, "-");
  const said = answer ? sentence(metric, shown, name, bands) : `${metric}: loading.`;
  const asSvg = (): void => {
    const u = made.current;
    const current = scene.current;
    if (!u || !current) return;
    const marks = ticks(u);
    saveText(`${file}.svg`, svg({
      title: metric, foot: footer(shown, bands), width: u.over.clientWidth, height: u.over.clientHeight, ground, text, rule, grey, ...marks, grid: current.answer.x,
      across: (value) => u.valToPos(value, "x"), up: (value) => u.valToPos(value, "y"), crowd: current.crowd,
      bands: current.bands.map((item, at) => ({ ...item, name: names[at]! })), lines: current.lines.map((item) => ({ ...item, name: name(item.curve.id) })),
    }), "image/svg+xml");
  };
  return (
    <figure class="chart" ref={figure} aria-label={said} tabIndex={0} onKeyDown={onKeyDown}>
      <figcaption>
        <b title={metric}>{metric.replace(/^system:/, "")}</b>
        {isArcsinh && <small title="There are zeros or negative values, which a logarithm has not.">arcsinh axis</small>}
        <span class="tools">
          <button type="button" aria-pressed={asTable} onClick={() => setAsTable(!asTable)}>table</button>
          <button type="button" onClick={asSvg}>SVG</button>
          <button type="button" onClick={() => made.current && save(`${file}.png`, made.current.ctx.canvas.toDataURL("image/png"))}>PNG</button>
          {isFolder
            ? <button type="button" title="All points that this page has" onClick={() => void csv(ids, metric, x, name).then((text) => saveText(`${file}.csv`, text, "text/csv"))}>CSV</button>
            : <a title="All points" href={pointsAddress(ids, metric, x, asof)} download={`${file}.csv`}>CSV</a>}
        </span>
      </figcaption>
      {refused ? <p class="bad" role="status">{refused}</p> : null}
      {asTable ? (
        <div class="scroll" tabIndex={0} role="region" aria-label={`${metric} as a table`}>
          {bands.length > 0 && (
            <table><thead><tr>{["band", "members", "median, last", "10 %", "90 %", "min", "max", "diverged"].map((head) => <th key={head}>{head}</th>)}</tr></thead>
              <tbody>{bands.map((band, at) => <tr key={at}><td>{names[at]}</td><td>{band.members.length}</td>{[band.p50, band.p10, band.p90, band.min, band.max].map((values, column) => <td key={column}>{words(lastOf(values))}</td>)}<td>{Math.max(0, ...band.diverged) || ""}</td></tr>)}</tbody>
            </table>
          )}
          <table><thead><tr><th>experiment</th><th>points</th><th>min</th><th>max</th><th>last</th><th>NaN</th></tr></thead>
            <tbody>{shown.map((curve) => {
              const own = ends([curve], false);
              return <tr key={curve.id}><td>{name(curve.id)}</td><td>{curve.points}</td><td>{own ? number(own[0]) : ""}</td><td>{own ? number(own[1]) : ""}</td><td>{words(lastOf(curve.last))}</td><td>{curve.nan || ""}</td></tr>;
            })}</tbody>
          </table>
        </div>
      ) : <div class="plot" ref={box} aria-hidden="true" />}
      <Readout axis={x} answer={answer} curves={shown} names={names} slots={slots} name={name} />
      <p class="foot">{answer ? footer(shown, bands) : " "}{hidden ? `, ${count(hidden, "column")} beyond the axis` : ""}</p>
    </figure>
  );
}

function words(value: number): string {
  return value === value ? number(value) : "";
}

interface ReadoutProps {
  axis: string;
  answer: CurveAnswer | null;
  curves: readonly Curve[];
  names: readonly string[];
  slots: readonly number[];
  name: (id: string) => string;
}

/** Values under the pointer, beside the curves and never over them. */
function Readout({ axis, answer, curves, names, slots, name }: ReadoutProps) {
  const at = cursor.value;
  if (!answer) return <div class="readout" />;
  const column = at === null ? answer.x.length - 1 : columnOf(answer.x, at);
  const place = at === null ? null : <span class="place">{across(axis, answer.x, column, answer.to)}</span>;
  const near = (values: Float64Array): number => {
    let index = Math.min(column, values.length - 1);
    while (index >= 0 && values[index] !== values[index]) index -= 1;
    return index;
  };
  if (answer.bands.length) {
    return (
      <div class="readout">
        {place}
        {answer.bands.slice(0, 12).map((band, index) => {
          const own = near(band.p50);
          return (
            <span key={names[index]} title={`${names[index]}, ${count(band.members.length, "member")}: median, and the middle 80 %`}>
              <i style={{ background: color(slots[index]!, isDark.value) }} />
              <em>{names[index]} ({band.members.length})</em>
              <b>{own < 0 ? "" : `${number(band.p50[own]!)} (${number(band.p10[own]!)} … ${number(band.p90[own]!)})`}</b>
            </span>
          );
        })}
      </div>
    );
  }
  const picked = curves.filter((curve) => drawn(view.value, curve.id) >= 0);
  const listed = (picked.length ? picked : curves.length === 1 ? curves : []).slice(0, 12);
  return (
    <div class="readout">
      {place}
      {listed.map((curve) => {
        const own = nearest(curve, column);
        const mine = drawn(view.value, curve.id);
        const low = own < 0 ? NaN : curve.min[own]!;
        const high = own < 0 ? NaN : curve.max[own]!;
        return (
          <span key={curve.id} title={name(curve.id)}>
            <i style={{ background: mine < 0 ? grounds().grey : color(mine, isDark.value) }} />
            <em>{name(curve.id)}</em>
            <b>{own < 0 ? "" : low === high ? number(low) : `${number(low)} … ${number(high)}`}</b>
          </span>
        );
      })}
    </div>
  );
}
