/** Media over steps, by one slider for all. */
import { useEffect, useRef, useState } from "preact/hooks";
import { Card, Lead, Rows } from "./bits";
import { Field } from "./charts";
import { scale } from "./colors";
import { FileLink } from "./files";
import { count, duration, number, plain } from "./format";
import { Layer, Legend } from "./layers";
import { Markdown } from "./markdown";
import { isDrawn, masksOf } from "./masks";
import { boxesOf, heat, histogramOf, pathsOf, shownAt, stepsOf, type Item } from "./pictures";
import { named } from "./rows";
import { fileAddress, json } from "./source";
import { change, changes, isDark, view } from "./state";

export interface Entry {
  type: string;
  name: string;
  count: number;
}

function Images({ id, item }: { id: string; item: Item }) {
  const paths = pathsOf(item.data);
  const captions = Array.isArray(item.data.captions) ? item.data.captions.map(String) : [item.data.caption === undefined ? "" : plain(item.data.caption)];
  const boxes = boxesOf(item.data);
  const masks = masksOf(item.data);
  const [width, height] = [Number(item.data.width), Number(item.data.height)];
  // A frame as wide as its image is drawn, so that boxes and masks lie on it.
  const frame = paths.length === 1 && width > 0 && height > 0 ? { aspectRatio: `${width} / ${height}`, maxWidth: `min(100%, ${Math.round((420 * width) / height)}px)` } : {};
  return (
    <div class={paths.length > 1 ? "images several" : "images"}>
      {paths.map((path, at) => (
        <figure key={path}>
          <a class="framed" style={frame} href={fileAddress(id, path)} target="_blank" rel="noopener noreferrer">
            <img loading="lazy" src={fileAddress(id, path)} alt={captions[at] || `${item.type} at step ${plain(item.step)}`} />
            {at === 0 && masks.map((mask) => isDrawn(view.value.masks, mask.name) && <Layer key={mask.name} id={id} mask={mask} />)}
            {at === 0 && boxes.map((box, index) => (
              <span key={index} class="box" style={{ left: `${box.left * 100}%`, top: `${box.top * 100}%`, width: `${box.width * 100}%`, height: `${box.height * 100}%` }}><b>{box.label}</b></span>
            ))}
          </a>
          {captions[at] && <figcaption>{captions[at]}</figcaption>}
          {at === 0 && masks.map((mask) => <Legend key={mask.name} id={id} mask={mask} />)}
        </figure>
      ))}
    </div>
  );
}

function Sheet({ data, name }: { data: Record<string, unknown>; name: string }) {
  const columns = Array.isArray(data.columns) ? data.columns.map(String) : [];
  const rows = Array.isArray(data.rows) ? (data.rows as unknown[][]) : [];
  const numbers = columns.flatMap((_, at) => (rows.some((row) => typeof row[at] === "number") ? [at] : []));
  return <><Rows label={name} head={columns} numbers={numbers} rows={rows.slice(0, 500).map((row) => row.map((cell) => plain(cell)))} />{rows.length > 500 && <p class="foot">The first 500 of {count(rows.length, "row")}.</p>}</>;
}

function Histogram({ item, items }: { item: Item; items: readonly Item[] }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const mine = histogramOf(item);
  const all = items.flatMap((one) => histogramOf(one) ?? []).slice(-400);
  const dark = isDark.value;
  useEffect(() => {
    const ctx = canvas.current?.getContext("2d");
    if (!ctx || all.length < 2) return;
    const { columns } = heat(all, 96);
    ctx.canvas.width = columns.length;
    ctx.canvas.height = 96;
    columns.forEach((column, at) => column.forEach((value, row) => {
      ctx.fillStyle = value ? scale(dark ? value : 0.15 + 0.85 * value) : dark ? "#1b1c1f" : "#ffffff";
      ctx.fillRect(at, 95 - row, 1, 1);
    }));
  }, [items, dark]);
  if (!mine) return <pre tabIndex={0}>{plain(item.data)}</pre>;
  const most = Math.max(...mine.counts) || 1;
  const [low, high] = [mine.edges[0]!, mine.edges[mine.edges.length - 1]!];
  const wide = high - low || 1;
  const { low: least, high: greatest } = heat(all, 1);
  const said = `${count(Number(item.data.count ?? mine.counts.reduce((sum, value) => sum + value, 0)), "value")} from ${number(low)} to ${number(high)}${typeof item.data.mean === "number" ? `, mean ${number(item.data.mean)}` : ""}`;
  return (
    <div class="histogram">
      <svg viewBox="0 0 300 90" preserveAspectRatio="none" role="img" aria-label={said}>
        {mine.counts.map((value, at) => <rect key={at} x={((mine.edges[at]! - low) / wide) * 300} width={Math.max(((mine.edges[at + 1]! - mine.edges[at]!) / wide) * 300 - 0.5, 0.5)} y={90 - (value / most) * 88} height={(value / most) * 88} />)}
      </svg>
      <p class="ends"><span>{number(low)}</span><span>{number(high)}</span></p>
      {all.length > 1 && (
        <>
          <canvas ref={canvas} role="img" aria-label={`${all.length} histograms over steps, values from ${number(least)} to ${number(greatest)} upward`} />
          <p class="ends"><span>step {plain(all[0]!.step)}</span><span>values {number(least)} to {number(greatest)}, upward</span><span>{plain(all[all.length - 1]!.step)}</span></p>
        </>
      )}
      <p class="foot">{said}</p>
    </div>
  );
}

function Precision({ data }: { data: Record<string, unknown> }) {
  const [precision, recall] = [data.precision, data.recall].map((values) => (Array.isArray(values) ? values.map(Number) : []));
  const path = recall!.map((value, at) => `${at ? "L" : "M"}${10 + value * 180} ${190 - precision![at]! * 180}`).join("");
  const said = `average precision ${plain(data.average_precision)}`;
  return <div class="curve"><svg viewBox="0 0 200 200" role="img" aria-label={said}><path class="axis" d="M10 10V190H190" /><path d={path} /></svg><p class="foot">precision over recall, {said}, {plain(data.positives)} positive, {plain(data.negatives)} negative</p></div>;
}

function Content({ id, item, items, name }: { id: string; item: Item; items: readonly Item[]; name: string }) {
  const { data, type } = item;
  const paths = pathsOf(data);
  const path = paths[0] ?? "";
  const isPicture = /\.(png|jpe?g|gif|webp|bmp|svg)$/i.test(path);
  if (type === "image" || ((type === "figure" || type === "video") && isPicture)) return <Images id={id} item={item} />;
  if (type === "audio") return <><audio controls preload="none" src={fileAddress(id, path)} /><p class="foot">{typeof data.duration_s === "number" ? duration(data.duration_s) : ""}{data.rate ? `, ${plain(data.rate)} Hz` : ""}{data.caption ? `, ${plain(data.caption)}` : ""}</p></>;
  if (type === "video" && /\.(mp4|webm)$/i.test(path)) return <video controls loop muted preload="metadata" src={fileAddress(id, path)} />;
  if (type === "table") return <Sheet data={data} name={name} />;
  if (type === "histogram") return <Histogram item={item} items={items} />;
  if (type === "pr_curve") return <Precision data={data} />;
  if (type === "text") return data.format === "markdown" ? <Markdown text={String(data.text ?? "")} /> : <pre class="wraps" tabIndex={0}>{String(data.text ?? "")}</pre>;
  const facts = Object.entries(data).filter(([key]) => key !== "file" && key !== "files").map(([key, value]) => `${key} ${plain(value)}`).join(", ");
  return <p>{paths.map((one) => <FileLink key={one} id={id} path={one} text={one.split("/").pop() ?? one} />)} <small>{facts}</small></p>;
}

export interface Lists {
  [key: string]: readonly Item[];
}

/** One kind of media of one experiment, at a step. */
export function Medium({ id, entry, step, onLoaded, title }: { id: string; entry: Entry; step: number | null; onLoaded: (key: string, items: readonly Item[]) => void; title?: string }) {
  const [items, setItems] = useState<readonly Item[] | null>(null);
  const [problem, setProblem] = useState("");
  const [isNear, setNear] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  const { asof } = view.value;
  const turn = changes.value.get(id.slice(0, 12));
  useEffect(() => {
    const sight = new IntersectionObserver((entries) => entries.some((one) => one.isIntersecting) && setNear(true), { rootMargin: "300px" });
    sight.observe(box.current!);
    return () => sight.disconnect();
  }, []);
  useEffect(() => {
    if (!isNear) return undefined;
    const asking = new AbortController();
    json<{ items: Item[] }>(`exp/${id}/media`, { name: entry.name, type: entry.type, asof }, asking.signal).then(
      (answer) => {
        setItems(answer.items);
        onLoaded(`${id} ${entry.type} ${entry.name}`, answer.items);
      },
      (error: Error) => error.name !== "AbortError" && setProblem(error.message),
    );
    return () => asking.abort();
  }, [isNear, id, entry.type, entry.name, asof, turn]);
  const item = items ? shownAt(items, step) : null;
  return (
    <div class={`medium ${entry.type}`} ref={box}>
      <Card label={title ?? entry.name} aside={<small>{entry.type}{item ? <>, <Lead to={{ exp: id.slice(0, 12), tab: "events", line: `${item.run}.${item.seq}` }} title="Its line in the log">{item.step === null ? "its line" : `step ${plain(item.step)}`}</Lead></> : ""}</small>}>
        {problem ? <p class="bad" role="alert">{problem}</p> : item && items ? <Content id={id} item={item} items={items} name={entry.name} /> : <p class="dim">{items ? "None." : "Reading."}</p>}
      </Card>
    </div>
  );
}

/** The slider of steps, shared by all media on the page. */
export function Steps({ lists, names }: { lists: Lists; names: readonly string[] }) {
  const { step, media } = view.value;
  const steps = stepsOf(Object.values(lists));
  const at = step === null ? steps.length - 1 : Math.max(steps.filter((one) => one <= step).length - 1, 0);
  const set = (index: number): void => {
    const next = Math.min(Math.max(index, 0), steps.length - 1);
    change({ step: next === steps.length - 1 ? null : (steps[next] ?? null) }, step !== null);
  };
  return (
    <div class="choices">
      <Field wide label="names" placeholder="all, or test/*" options={names} value={media.join(", ")} onChange={(text) => change({ media: text.split(",").map((one) => one.trim()).filter(Boolean) })} />
      {steps.length > 1 && (
        <label class="steps">step <button type="button" id="before" aria-label="step before" onClick={() => set(at - 1)}>‹</button>
          <input type="range" min={0} max={steps.length - 1} value={at} aria-label="step" aria-valuetext={String(steps[at])} onInput={(event) => set(Number(event.currentTarget.value))} />
          <button type="button" id="after" aria-label="step after" onClick={() => set(at + 1)}>›</button> <output>{steps[at]}</output> <small>{at + 1} of {steps.length}</small></label>
      )}
    </div>
  );
}

export function Media({ id, entries }: { id: string; entries: readonly Entry[] }) {
  const [lists, setLists] = useState<Lists>({});
  const matching = entries.filter((entry) => named(entry.name, view.value.media));
  if (!entries.length) return <p class="empty">No image, sound, table or text was logged.</p>;
  return (
    <>
      <Steps lists={lists} names={[...new Set(entries.map((entry) => entry.name))]} />
      <div class="media">
        {matching.map((entry) => <Medium key={`${entry.type} ${entry.name}`} id={id} entry={entry} step={view.value.step} onLoaded={(key, items) => setLists((before) => ({ ...before, [key]: items }))} />)}
      </div>
    </>
  );
}
