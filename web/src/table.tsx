/** The list of experiments: a tree, or groups, of virtual rows. */
import { useEffect, useRef, useState } from "preact/hooks";
import { color } from "./colors";
import { Lead, Status } from "./bits";
import { age, count, decimals, duration, moment, number, plain } from "./format";
import { hidden, keep, stars } from "./own";
import { cell, folded, slot, spread, title, turned, type Line } from "./rows";
import { trace } from "./scales";
import { arrived, spark } from "./sparks";
import { change, cols, isDark, lines, now, pick, recolor, view } from "./state";

const height = 28;
const first = 34;

/** Write a cell as text. */
function text(line: Line, column: string): string {
  const value = cell(line.row, column);
  if (value == null) return "";
  if (column === "created") return `${age(now.value - (value as number))}`;
  if (column === "duration") return duration(value as number);
  return typeof value === "number" ? number(value) : plain(value);
}

/** Width of a column in pixels: those pinned keep it, others grow. */
function width(column: string): number {
  return column === "name" ? 210 : column === "status" ? 96 : column.startsWith("spark.") ? 86 : column.startsWith("metrics.") && view.value.group ? 122 : column === "path" || column === "id" ? 150 : column === "notes" ? 190 : column.startsWith("params.") || column.startsWith("metrics.") ? 98 : 84;
}

function isText(column: string): boolean {
  return ["name", "status", "tags", "path", "kind", "id", "notes"].includes(column);
}

function Digits({ value, places }: { value: string; places: number }) {
  const mine = decimals(value);
  // Blank digits after a shorter number stand its point under the others'.
  const blank = mine < 0 || mine >= places ? "" : (mine ? "" : ".") + "0".repeat(places - Math.max(mine, 1));
  return <>{value}{blank && <span class="blank" aria-hidden="true">{blank}</span>}</>;
}

function State({ line }: { line: Line }) {
  const { status, age: newest } = line.row;
  const seconds = now.value - newest;
  return <Status status={status}>{(status === "running" || status === "lost") && Number.isFinite(seconds) && <small title={`newest line ${moment(newest)}`}>{age(seconds)}</small>}</Status>;
}

function Spark({ line, metric, tint }: { line: Line; metric: string; tint: string }) {
  arrived.value;
  const y = line.row.metrics[metric] ? spark(line.row.id, metric, line.row.age) : null;
  return y && y.length > 1 ? <svg class="spark" viewBox="-1 -1 72 20" role="img" aria-label={`${metric} over steps`}><path d={trace(y, 70, 18)} style={tint ? { stroke: tint } : {}} /></svg> : null;
}

export function Table() {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [room, setRoom] = useState(800);
  const [focus, setFocus] = useState(0);
  const all = lines.value;
  const names = cols.value;
  const { sort, pick: picks, open, pin, group } = view.value;
  const begin = Math.max(Math.floor(top / height) - 6, 0);
  const visible = all.slice(begin, begin + Math.ceil(room / height) + 12);
  const at = Math.min(focus, all.length - 1);

  useEffect(() => {
    const element = box.current!;
    const observer = new ResizeObserver(() => setRoom(element.clientHeight));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);

  const move = (to: number): void => {
    const index = Math.min(Math.max(to, 0), all.length - 1);
    setFocus(index);
    const element = box.current!;
    const y = index * height;
    if (y < element.scrollTop) element.scrollTop = y;
    else if (y + 2 * height > element.scrollTop + element.clientHeight) element.scrollTop = y + 2 * height - element.clientHeight;
  };
  const toggle = (name: string): void => change({ open: open.includes(name) ? open.filter((one) => one !== name) : [...open, name] });
  const onKeyDown = (event: KeyboardEvent): void => {
    const line = all[at];
    if (!line || event.ctrlKey || event.metaKey || event.altKey || (event.target as Element).closest("button,select,input")) return;
    const page = Math.max(Math.floor(room / height) - 2, 1);
    const moves: Record<string, number> = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: all.length };
    const isOpen = line.group ? !open.includes(folded(line.group.label)) : open.includes(line.row.id);
    const name = line.group ? folded(line.group.label) : line.row.id;
    if (event.key in moves) move(moves[event.key]!);
    else if (event.key === "ArrowRight" && (line.children || line.group) && !isOpen) toggle(name);
    else if (event.key === "ArrowLeft" && (line.children || line.group) && isOpen) toggle(name);
    else if (line.group) {
      if (event.key !== "Enter" && event.key !== " ") return;
      toggle(name);
    } else if (event.key === "x" || event.key === " ") pick(line.row.id);
    else if (event.key === "v") recolor(line.row.id);
    else if (event.key === "*") star(line);
    else if (event.key === "h") void keep("hidden", line.row.whole, hidden.peek().has(line.row.id) ? null : true);
    else if (event.key === "Enter") change({ exp: line.row.id, tab: "overview" });
    else return;
    event.preventDefault();
  };
  const star = (line: Line): void => void keep("star", line.row.whole, stars.peek().has(line.row.id) ? null : true);

  const places = new Map<string, number>();
  const texts = visible.map((line) => names.map((column) => {
    const value = line.group ? "" : text(line, column);
    if (!line.group && typeof cell(line.row, column) === "number") places.set(column, Math.max(places.get(column) ?? 0, decimals(value)));
    return value;
  }));
  const pinned = 1 + pin.filter((name) => name !== "name" && names.includes(name)).length;
  const lefts = names.map((_, index) => first + names.slice(0, index).reduce((sum, name) => sum + width(name), 0));
  const stick = (index: number): Record<string, string> => (index < pinned ? { left: `${lefts[index]}px` } : {});
  const grid = {
    gridTemplateColumns: `${first}px ${names.map((column, index) => (index < pinned && pinned > 1 ? `${width(column)}px` : `minmax(${width(column)}px, ${column === "name" ? 2 : 1}fr)`)).join(" ")}`,
    minWidth: `${lefts[names.length - 1]! + width(names[names.length - 1]!)}px`,
  };
  const side = (column: string, index: number): string => `${isText(column) ? "" : "right"}${index < pinned ? " pinned" : ""}`;
  return (
    <div class="table" ref={box} role="treegrid" aria-label="Experiments" aria-rowcount={all.length + 1} tabIndex={0}
      aria-activedescendant={all.length ? rowId(all[at]!) : undefined} onKeyDown={onKeyDown} onScroll={(event) => setTop(event.currentTarget.scrollTop)}>
      <div class="row head" role="row" aria-rowindex={1} style={grid}>
        <span role="columnheader" class="hidden-text">picked</span>
        {names.map((column, index) => {
          const order = sort[0] === column ? "ascending" : sort[0] === `-${column}` ? "descending" : "none";
          if (column.startsWith("spark.")) return <span role="columnheader" key={column} class={side(column, index)} style={stick(index)} title={`${title(column)} over steps`}>curve</span>;
          return (
            <span role="columnheader" aria-sort={order} key={column} class={side(column, index)} style={stick(index)}>
              <button type="button" title={column} onClick={() => change({ sort: turned(sort, column) })}>
                {title(column)}{order !== "none" && <i aria-hidden="true">{order === "ascending" ? "↑" : "↓"}</i>}
              </button>
            </span>
          );
        })}
      </div>
      <div class="rows" role="rowgroup" style={{ height: `${all.length * height}px`, minWidth: grid.minWidth }}>
        {visible.map((line, index) => {
          const { row } = line;
          const own = { ...grid, transform: `translateY(${(begin + index) * height}px)` };
          const isAt = begin + index === at;
          if (line.group) {
            const name = folded(line.group.label);
            return (
              <div key={name} id={rowId(line)} role="row" aria-level={1} aria-rowindex={begin + index + 2} aria-expanded={!open.includes(name)} class={`row group${isAt ? " at" : ""}`} style={own} onClick={() => setFocus(begin + index)}>
                <span role="gridcell"><button type="button" class="fold" tabIndex={-1} aria-label={`${open.includes(name) ? "unfold" : "fold"} ${title(group)} ${line.group.label}`} onClick={() => toggle(name)}>{open.includes(name) ? "▸" : "▾"}</button></span>
                {names.map((column, at_) => <span role="gridcell" key={column} class={side(column, at_)} style={stick(at_)}>{at_ === 0 ? <>{title(group)} <b>{line.group!.label || "none"}</b> <small>{count(line.group!.rows.length, "experiment")}</small></> : <Spread line={line} column={column} />}</span>)}
              </div>
            );
          }
          const mine = slot(picks, row.id);
          const tint = mine >= 0 ? color(mine, isDark.value) : "";
          const isStarred = stars.value.has(row.id);
          return (
            <div key={row.id} id={rowId(line)} role="row" aria-level={line.depth + 1 + Number(group !== "")} aria-rowindex={begin + index + 2} aria-selected={mine >= 0}
              aria-expanded={line.children ? open.includes(row.id) : undefined} class={`row${isAt ? " at" : ""}${mine >= 0 ? " picked" : ""}${row.archived || hidden.value.has(row.id) ? " aside" : ""}`}
              style={own} onClick={() => setFocus(begin + index)}>
              <span role="gridcell">
                <button type="button" class="dot" tabIndex={-1} aria-pressed={mine >= 0} aria-label={`pick ${row.name}`} title={mine >= 0 ? "Alt and a click: the next colour" : ""} onClick={(event) => (event.altKey && mine >= 0 ? recolor(row.id) : pick(row.id))}>
                  <i style={tint ? { background: tint, borderColor: tint } : {}} />
                </button>
              </span>
              {names.map((column, at_) => {
                if (column === "name") {
                  return (
                    <span role="gridcell" key={column} class="name pinned" style={{ ...stick(0), paddingLeft: `${line.depth * 14}px` }}>
                      {line.children > 0
                        ? <button type="button" tabIndex={-1} class="fold" aria-label={`${open.includes(row.id) ? "fold" : "unfold"} ${row.name}`} onClick={() => toggle(row.id)}>{open.includes(row.id) ? "▾" : "▸"}</button>
                        : <span class="fold" />}
                      {row.kind && <small>{row.kind}/</small>}
                      <Lead tabIndex={-1} to={{ exp: row.id, tab: "overview" }} title={row.path}>{row.name || row.id.slice(0, 8)}</Lead>
                      {row.tags.map((tag) => <small class="tag" key={tag}>{tag}</small>)}
                      <button type="button" tabIndex={-1} class={`star${isStarred ? " on" : ""}`} aria-pressed={isStarred} aria-label={`star ${row.name}`} onClick={() => star(line)}>{isStarred ? "★" : "☆"}</button>
                    </span>
                  );
                }
                if (column === "status") return <span role="gridcell" key={column} class={side(column, at_)} style={stick(at_)} title={row.error}><State line={line} /></span>;
                if (column.startsWith("spark.")) return <span role="gridcell" key={column} class={side(column, at_)} style={stick(at_)}><Spark line={line} metric={column.slice(6)} tint={tint} /></span>;
                const value = texts[index]![at_]!;
                const isNumber = typeof cell(row, column) === "number";
                return (
                  <span role="gridcell" key={column} class={side(column, at_)} style={stick(at_)} title={isNumber && column !== "created" ? String(cell(row, column)) : column === "created" ? moment(row.created) : value}>
                    {isNumber && column !== "created" && column !== "duration" ? <Digits value={value} places={places.get(column) ?? 0} /> : value}
                  </span>
                );
              })}
            </div>
          );
        })}
      </div>
    </div>
  );
}

function rowId(line: Line): string {
  return line.group ? `group-${encodeURIComponent(line.group.label)}` : `row-${line.row.id}`;
}

/** Mean and deviation of a group's numbers. */
function Spread({ line, column }: { line: Line; column: string }) {
  if (!column.startsWith("metrics.") && column !== "duration") return null;
  const own = spread(line.group!.rows, column);
  if (!own) return null;
  const write = column === "duration" ? duration : (value: number) => number(value, 3);
  return <span class="spread" title={`mean and standard deviation of ${own.count}`}>{write(own.mean)}{own.count > 1 && <small> ± {column === "duration" ? write(own.deviation) : number(own.deviation, 2)}</small>}</span>;
}
