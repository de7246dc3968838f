/** Small things that several views share: cards, lists of facts, tables, links into the page, texts to copy. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { View } from "./address";
import type { DiffLine } from "./differences";
import { change, link } from "./state";

/** A link that changes the view; with a modifier the browser opens it elsewhere. */
export function Lead({ to, children, title, current, tabIndex }: { to: Partial<View>; children: ComponentChildren; title?: string; current?: boolean; tabIndex?: number }) {
  return (
    <a href={link(to)} title={title ?? ""} {...(current ? { "aria-current": "page" as const } : {})} {...(tabIndex === undefined ? {} : { tabIndex })} onClick={(event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
      event.preventDefault();
      change(to);
    }}>{children}</a>
  );
}

export function Card({ label, children, wide, aside }: { label: string; children: ComponentChildren; wide?: boolean; aside?: ComponentChildren }) {
  return <article class={`card${wide ? " wide" : ""}`}><header><h2>{label}</h2>{aside}</header>{children}</article>;
}

export function Facts({ entries }: { entries: readonly (readonly [string, ComponentChildren])[] }) {
  return <dl>{entries.map(([name, text]) => <div key={name}><dt>{name}</dt><dd>{text}</dd></div>)}</dl>;
}

/** A table that scrolls by itself; columns of numbers stand at the right. */
export function Rows({ label, head, rows, numbers = [] }: { label: string; head: readonly ComponentChildren[]; rows: readonly (readonly ComponentChildren[])[]; numbers?: readonly number[] }) {
  const side = (at: number): string => (numbers.includes(at) ? "right" : "");
  return (
    <div class="sheet" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead><tr>{head.map((name, at) => name === "" ? <td key={at} /> : <th key={at} scope="col" class={side(at)}>{name}</th>)}</tr></thead>
        <tbody>{rows.map((row, index) => <tr key={index}>{row.map((cell, at) => <td key={at} class={side(at)}>{cell}</td>)}</tr>)}</tbody>
      </table>
    </div>
  );
}

export function Copied({ text, label }: { text: string; label?: string }) {
  const [done, setDone] = useState(false);
  return (
    <button type="button" class="copy" onClick={() => {
      // Where the address is no safe one there is no clipboard: the text is marked for Ctrl-C.
      void navigator.clipboard?.writeText(text).then(() => {
        setDone(true);
        setTimeout(() => setDone(false), 1500);
      });
    }}>{done ? "copied" : (label ?? "copy")}</button>
  );
}

export function Code({ text, label }: { text: string; label: string }) {
  return <div class="code"><pre tabIndex={0} aria-label={label}>{text}</pre><Copied text={text} /></div>;
}

/** Lines of a diff; those left out are counted. */
export function Diff({ lines, label }: { lines: readonly DiffLine[]; label: string }) {
  return <pre class="diff" tabIndex={0} aria-label={label}>{lines.map((line, at) => <span key={at} class={line.kind}>{line.text}{"\n"}</span>)}</pre>;
}

export function Status({ status, children }: { status: string; children?: ComponentChildren }) {
  return <span class={`status ${status}`}>{status}{children}</span>;
}
