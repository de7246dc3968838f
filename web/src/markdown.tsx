/** Notes and texts as nodes. */
import type { ComponentChildren } from "preact";
import { blocks, type Block, type Inline } from "./prose";

function Line({ inner }: { inner: readonly Inline[] }) {
  return <>{inner.map((item, at): ComponentChildren => {
    if (item.kind === "text") return item.text;
    if (item.kind === "code") return <code key={at}>{item.text}</code>;
    if (item.kind === "strong") return <strong key={at}><Line inner={item.inner} /></strong>;
    if (item.kind === "emphasis") return <em key={at}><Line inner={item.inner} /></em>;
    if (item.kind === "struck") return <del key={at}><Line inner={item.inner} /></del>;
    return <a key={at} href={item.href} target="_blank" rel="noopener noreferrer"><Line inner={item.inner} /></a>;
  })}</>;
}

function One({ block }: { block: Block }) {
  // Headings of a note lie below those of the page.
  if (block.kind === "heading") return <p role="heading" aria-level={Math.min(block.level + 2, 6)} class={`heading level${block.level}`}><Line inner={block.inner} /></p>;
  if (block.kind === "paragraph") return <p><Line inner={block.inner} /></p>;
  if (block.kind === "code") return <pre tabIndex={0}>{block.text}</pre>;
  if (block.kind === "rule") return <hr />;
  if (block.kind === "quote") return <blockquote><Blocks all={block.inner} /></blockquote>;
  if (block.kind === "table") {
    return (
      <table>
        <thead><tr>{block.head.map((cell, at) => <th key={at}><Line inner={cell} /></th>)}</tr></thead>
        <tbody>{block.rows.map((row, at) => <tr key={at}>{row.map((cell, column) => <td key={column}><Line inner={cell} /></td>)}</tr>)}</tbody>
      </table>
    );
  }
  const items = block.items.map((item, at) => <li key={at}><Blocks all={item} /></li>);
  return block.ordered ? <ol start={block.start}>{items}</ol> : <ul>{items}</ul>;
}

function Blocks({ all }: { all: readonly Block[] }) {
  return <>{all.map((block, at) => <One key={at} block={block} />)}</>;
}

export function Markdown({ text }: { text: string }) {
  return <div class="prose"><Blocks all={blocks(text)} /></div>;
}
