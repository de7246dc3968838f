/** Saved views, and which moment and which rows are shown. */
import { useEffect, useState } from "preact/hooks";
import { address, view as parse } from "./address";
import { Check } from "./charts";
import { keep, own, refusedOwn, views } from "./own";
import { root } from "./source";
import { change, view } from "./state";

export function Views() {
  const { archived, starred, asof } = view.value;
  const [name, setName] = useState("");
  const [moment, setMoment] = useState(asof);
  useEffect(() => setMoment(asof), [asof]);
  const go = (to: string): void => {
    const url = new URL(to, root);
    change(parse(url.pathname, url.search, url.hash));
  };
  return (
    <details class="menu">
      <summary>views{asof ? " · past" : ""}</summary>
      <div class="sheet-menu">
        <h2>Saved views</h2>
        {views.value.length ? (
          <ul class="plain">{views.value.map(([title, to]) => (
            <li key={title}><a href={new URL(to, root).href} onClick={(event) => {
              if (event.ctrlKey || event.metaKey || event.shiftKey) return;
              event.preventDefault();
              go(to);
            }}>{title}</a> <button type="button" class="act" aria-label={`forget ${title}`} onClick={() => void keep("view", title, null)}>forget</button></li>
          ))}</ul>
        ) : <p class="dim">None. The address of the page is a view as well: bookmark or send it.</p>}
        {own.value?.writable !== false && own.value && (
          <form onSubmit={(event) => {
            event.preventDefault();
            if (name.trim()) void keep("view", name.trim(), address(view.value)).then(() => setName(""));
          }}><input aria-label="Name of this view" placeholder="name of this view" value={name} onInput={(event) => setName(event.currentTarget.value)} /> <button type="submit" class="act">save</button></form>
        )}
        {refusedOwn.value && <p class="bad" role="alert">{refusedOwn.value}</p>}
        {own.value && <p class="dim"><small>Kept in {own.value.where}</small></p>}
        <h2>Rows</h2>
        <Check label="archived and hidden" checked={archived} onChange={() => change({ archived: !archived })} />
        <Check label="only with a star" checked={starred} onChange={() => change({ starred: !starred })} />
        <h2>As of a moment</h2>
        <form onSubmit={(event) => {
          event.preventDefault();
          change({ asof: moment.trim() });
        }}><input aria-label="As of" placeholder="now, or 2026-11-21T03:00Z" value={moment} onInput={(event) => setMoment(event.currentTarget.value)} /> <button type="submit" class="act">show</button>{asof && <button type="button" class="act" onClick={() => change({ asof: "" })}>now</button>}</form>
      </div>
    </details>
  );
}
