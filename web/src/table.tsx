/** The list of experiments: a tree of virtual rows. */
import { useEffect, useRef, useState } from "preact/hooks";
import { color } from "./colors";
import { age, decimals, duration, moment, number, plain } from "./format";
import { cell, title, turned, slot, type Line } from "./rows";
import { change, cols, isDark, lines, link, now, pick, view } from "./state";

const height = 28;

/** Write a cell as text. */
function text(line: Line, column: string): string {
  const value = cell(line.row, column);
  if (value == null) return "";
  if (column === "created") return `${age(now.value - (value as number))}`;
  if (column === "duration") return duration(value as number);
  return typeof value === "number" ? number(value) : plain(value);
}

function Digits({ value, places }: { value: string; places: number }) {
  const mine = decimals(value);
  // Blank digits after a shorter number stand its point under the others'.
  const blank = mine < 0 || mine >= places ? "" : (mine ? "" : ".") + "0".repeat(places - Math.max(mine, 1));
  return <>{value}{blank && <span class="blank" aria-hidden="true">{blank}</span>}</>;
}

function Status({ line }: { line: Line }) {
  const { status, age: newest } = line.row;
  const seconds = now.value - newest;
  return (
    <span class={`status ${status}`}>
      {status}
      {(status === "running" || status === "lost") && Number.isFinite(seconds) && <small title={`newest line ${moment(newest)}`}>{age(seconds)}</small>}
    </span>
  );
}

export function Table() {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [room, setRoom] = useState(800);
  const [focus, setFocus] = useState(0);
  const all = lines.value;
  const names = cols.value;
  const { sort, pick: picks, open } = view.value;
  const first = Math.max(Math.floor(top / height) - 6, 0);
  const visible = all.slice(first, first + Math.ceil(room / height) + 12);
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
  const unfold = (line: Line): void => change({ open: open.includes(line.row.id) ? open.filter((id) => id !== line.row.id) : [...open, line.row.id] });
  const onKeyDown = (event: KeyboardEvent): void => {
    const line = all[at];
    if (!line || event.ctrlKey || event.metaKey || event.altKey || (event.target as Element).closest("button,select,input")) return;
    const page = Math.max(Math.floor(room / height) - 2, 1);
    const moves: Record<string, number> = { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: all.length };
    if (event.key in moves) move(moves[event.key]!);
    else if (event.key === "x" || event.key === " ") pick(line.row.id);
    else if (event.key === "Enter") change({ exp: line.row.id, tab: "overview" });
    else if (event.key === "ArrowRight" && line.children && !open.includes(line.row.id)) unfold(line);
    else if (event.key === "ArrowLeft" && line.children && open.includes(line.row.id)) unfold(line);
    else return;
    event.preventDefault();
  };

  const places = new Map<string, number>();
  const texts = visible.map((line) => names.map((column) => {
    const value = text(line, column);
    if (typeof cell(line.row, column) === "number") places.set(column, Math.max(places.get(column) ?? 0, decimals(value)));
    return value;
  }));
  const widths = names.map((column) => (column === "name" ? "minmax(160px, 1.6fr)" : column === "status" ? "112px" : "minmax(84px, 1fr)"));
  const grid = { gridTemplateColumns: `34px ${widths.join(" ")}`, minWidth: `${34 + names.reduce((sum, column) => sum + (column === "name" ? 160 : column === "status" ? 112 : 84), 0)}px` };
  return (
    <div class="table" ref={box} role="treegrid" aria-label="Experiments" aria-rowcount={all.length + 1} tabIndex={0}
      aria-activedescendant={all.length ? `row-${all[at]?.row.id}` : undefined} onKeyDown={onKeyDown} onScroll={(event) => setTop(event.currentTarget.scrollTop)}>
      <div class="row head" role="row" aria-rowindex={1} style={grid}>
        <span role="columnheader" class="hidden-text">picked</span>
        {names.map((column) => {
          const order = sort[0] === column ? "ascending" : sort[0] === `-${column}` ? "descending" : "none";
          return (
            <span role="columnheader" aria-sort={order} key={column} class={column === "name" || column === "status" || column === "tags" ? "" : "right"}>
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
          const mine = slot(picks, row.id);
          return (
            <div key={row.id} id={`row-${row.id}`} role="row" aria-level={line.depth + 1} aria-rowindex={first + index + 2} aria-selected={mine >= 0}
              aria-expanded={line.children ? open.includes(row.id) : undefined} class={`row${first + index === at ? " at" : ""}${mine >= 0 ? " picked" : ""}`}
              style={{ ...grid, transform: `translateY(${(first + index) * height}px)` }} onClick={() => setFocus(first + index)}>
              <span role="gridcell">
                <button type="button" class="dot" tabIndex={-1} aria-pressed={mine >= 0} aria-label={`pick ${row.name}`} onClick={() => pick(row.id)}>
                  <i style={mine >= 0 ? { background: color(mine, isDark.value), borderColor: color(mine, isDark.value) } : {}} />
                </button>
              </span>
              {names.map((column, at) => {
                if (column === "name") {
                  return (
                    <span role="gridcell" key={column} class="name" style={{ paddingLeft: `${line.depth * 14}px` }}>
                      {line.children > 0
                        ? <button type="button" tabIndex={-1} class="fold" aria-label={`${open.includes(row.id) ? "fold" : "unfold"} ${row.name}`} onClick={() => unfold(line)}>{open.includes(row.id) ? "▾" : "▸"}</button>
                        : <span class="fold" />}
                      <a tabIndex={-1} href={link({ exp: row.id, tab: "overview" })} title={row.path} onClick={(event) => {
                        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
                        event.preventDefault();
                        change({ exp: row.id, tab: "overview" });
                      }}>{row.name || row.id.slice(0, 8)}</a>
                      {row.tags.map((tag) => <small class="tag" key={tag}>{tag}</small>)}
                    </span>
                  );
                }
                if (column === "status") return <span role="gridcell" key={column}><Status line={line} /></span>;
                const value = texts[index]![at]!;
                const isNumber = typeof cell(row, column) === "number";
                return (
                  <span role="gridcell" key={column} class={column === "tags" ? "" : "right"} title={isNumber && column !== "created" ? String(cell(row, column)) : column === "created" ? moment(row.created) : value}>
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
