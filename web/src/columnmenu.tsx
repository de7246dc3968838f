/** Which columns the list has, which stay at the left, and by what it is divided. */
import { useState } from "preact/hooks";
import { title } from "./rows";
import { change, cols, columnNames, view } from "./state";

export function ColumnMenu() {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="menu" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>columns</summary>
      {isOpen && <Choice />}
    </details>
  );
}

function Choice() {
  const [q, setQ] = useState("");
  const { pin, group } = view.value;
  const shown = cols.value;
  const names = columnNames.value.filter((name) => name !== "name");
  const curves = names.filter((name) => name.startsWith("metrics.")).map((name) => `spark.${name.slice(8)}`);
  const options = [...shown.filter((name) => name !== "name"), ...[...names, ...curves].filter((name) => !shown.includes(name))].filter((name) => name.toLowerCase().includes(q.toLowerCase()));
  const toggle = (name: string): void => change({ cols: shown.includes(name) ? shown.filter((one) => one !== name) : [...shown, name] });
  return (
    <div class="sheet-menu">
      <label>group by <select value={group} onChange={(event) => change({ group: event.currentTarget.value })}>
        <option value="">nothing</option>{[...new Set([group, ...names.filter((name) => !name.startsWith("metrics.") && name !== "id" && name !== "created" && name !== "path")])].filter(Boolean).map((name) => <option key={name} value={name}>{title(name)}</option>)}
      </select></label>
      <p><input type="search" aria-label="Columns" placeholder="columns" value={q} onInput={(event) => setQ(event.currentTarget.value)} /> <button type="button" class="act" title="Params that differ come first" onClick={() => change({ cols: [], pin: [] })}>those that differ</button></p>
      <ul class="plain choose">
        {options.slice(0, 200).map((name) => (
          <li key={name}>
            <label class="check"><input type="checkbox" checked={shown.includes(name)} onChange={() => toggle(name)} /> {name.startsWith("spark.") ? `curve of ${title(name)}` : title(name)}</label>
            {shown.includes(name) && <button type="button" class="act" aria-pressed={pin.includes(name)} aria-label={`pin ${title(name)}`} onClick={() => change({ pin: pin.includes(name) ? pin.filter((one) => one !== name) : [...pin, name], cols: shown })}>{pin.includes(name) ? "pinned" : "pin"}</button>}
          </li>
        ))}
      </ul>
      {options.length > 200 && <p class="dim">{options.length - 200} more: search.</p>}
    </div>
  );
}
