/** Two to twenty experiments side by side: only what differs. */
import { useAnswer } from "./answers";
import { Card, Diff, Lead, Rows } from "./bits";
import { color } from "./colors";
import type { DiffLine } from "./differences";
import { number, plain } from "./format";
import { slot } from "./rows";
import { float, short } from "./source";
import { isDark, shown, view } from "./state";

interface Section {
  name: string;
  equal: number;
  rows: { name: string; values: unknown[]; absent?: number[]; stats?: Record<string, unknown[]> }[];
}

interface Answer {
  ids: string[];
  names: string[];
  sections: Section[];
  diffs: { section: string; name: string; a: string; b: string; cut: boolean; hunks: { a: number; b: number; lines: [string, string][] }[] }[];
}

export const mostCompared = 20;

/** Experiments that are looked at side by side: those picked, else the first shown. */
export function looked(most: number): string[] {
  const picked = view.value.pick.map((pick) => pick.id);
  return (picked.length > 1 ? picked : shown.value.map((row) => row.id)).slice(0, most);
}

function lines(hunks: Answer["diffs"][number]["hunks"]): DiffLine[] {
  const kinds: Record<string, DiffLine["kind"]> = { " ": "same", "-": "removed", "+": "added" };
  return hunks.flatMap((hunk) => [{ kind: "span" as const, text: `@@ line ${hunk.a}, line ${hunk.b} @@` }, ...hunk.lines.map(([sign, text]) => ({ kind: kinds[sign] ?? "same", text: `${sign}${text}` }))]);
}

export function Compare() {
  const ids = looked(view.value.pick.length > 1 ? mostCompared : 6);
  const { value, problem } = useAnswer<Answer>(ids.length > 1 ? "compare" : "", { ids: ids.join(","), asof: view.value.asof });
  if (ids.length < 2) return <p class="empty">Pick two to twenty experiments in the list: what differs between them stands here.</p>;
  if (problem) return <p class="bad" role="alert">{problem}</p>;
  if (!value) return <p class="empty">Reading.</p>;
  const name = (id: string): string => value.names[value.ids.indexOf(id)] ?? id.slice(0, 8);
  const heads = value.ids.map((id, at) => {
    const mine = slot(view.value.pick, short(id));
    return <><i class="mark" style={mine >= 0 ? { background: color(mine, isDark.value) } : {}} /><Lead to={{ exp: short(id), tab: "overview" }}>{value.names[at] || id.slice(0, 8)}</Lead></>;
  });
  const differing = value.sections.filter((section) => section.rows.length);
  return (
    <div class="cards compare">
      {view.value.pick.length < 2 && <p class="dim wide">Nothing is picked: these are the first {ids.length} of the list.</p>}
      {differing.map((section) => (
        <Card wide key={section.name} label={section.name} aside={<small>{section.equal ? `${section.equal} equal` : ""}</small>}>
          <Rows label={section.name} numbers={[]} head={["", ...heads]} rows={section.rows.map((row) => [
            <span class="dim">{row.name}</span>,
            ...row.values.map((item, at) => (row.absent?.includes(at) ? <span class="dim">absent</span> : section.name === "metrics" ? <span title={Object.entries(row.stats ?? {}).map(([stat, all]) => `${stat} ${plain(all[at])}`).join(", ")}>{item === null ? "" : number(float(item) ?? NaN)}</span> : plain(item))),
          ])} />
        </Card>
      ))}
      {!differing.length && !value.diffs.length && <p class="empty">Nothing differs.</p>}
      {value.diffs.map((diff) => (
        <Card wide key={`${diff.section}${diff.name}${diff.b}`} label={`${diff.section}: ${diff.name}`} aside={<small>{name(diff.a)} (−) and {name(diff.b)} (+){diff.cut ? ", cut" : ""}</small>}>
          <Diff label={`${diff.name} of ${name(diff.a)} and ${name(diff.b)}`} lines={lines(diff.hunks)} />
        </Card>
      ))}
    </div>
  );
}
