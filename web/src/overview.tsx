/** What an experiment is: notes, runs, params, values, command, git, machine, and what it comes from. */
import { useEffect, useState } from "preact/hooks";
import { useAnswer } from "./answers";
import { Card, Code, Copied, Diff, Facts, Lead, Rows, Status } from "./bits";
import { diffLines } from "./differences";
import { bytes, count, duration, moment, number, plain } from "./format";
import { Markdown } from "./markdown";
import { keep, notes, own, refusedOwn } from "./own";
import { flat, quoted, timeLine, type Overview as Described, type Run } from "./overviews";
import { float, short } from "./source";
import { now } from "./state";

function value(item: unknown): string {
  const known = float(item);
  return known === null || (typeof item === "string" && Number.isNaN(known) && item !== "NaN") ? plain(item) : number(known);
}

function Runs({ runs }: { runs: readonly Run[] }) {
  const { spans, from, to } = timeLine(runs, now.value);
  return (
    <Card wide label="Runs" aside={<small>{moment(from)} to {moment(to)}</small>}>
      <ol class="timeline">
        {spans.map(({ run, depth, left, width }) => (
          <li key={run.run}>
            <span class="who" style={{ paddingLeft: `${depth * 14}px` }}><code>{run.run}</code> <Status status={run.status} /></span>
            <span class="track" aria-hidden="true"><i class={run.status} style={{ left: `${left * 100}%`, width: `max(3px, ${width * 100}%)` }} /></span>
            <small>{run.duration_s === null ? "" : duration(run.duration_s)}{run.host ? ` · ${run.host}` : ""}{run.pid ? ` · process ${run.pid}` : ""}</small>
            {run.exception && <details><summary class="bad">{run.exception.type}: {run.exception.message}</summary><pre tabIndex={0}>{run.exception.traceback}</pre></details>}
            {Object.keys(run.params).length > 0 && <small>with {flat(run.params).map(([name, item]) => `${name} = ${plain(item)}`).join(", ")}</small>}
          </li>
        ))}
      </ol>
    </Card>
  );
}

interface Verdict {
  verdict: string;
  lines: number;
  size_bytes: number;
  attachments: number;
  digest: string | null;
  findings: { kind?: string; message?: string; detail?: string }[];
}

export function Verify({ id }: { id: string }) {
  const [asked, setAsked] = useState(0);
  const { value: verdict, problem } = useAnswer<Verdict>(asked ? `exp/${id}/verify` : "", {}, asked);
  return (
    <Card label="Verify" aside={<button type="button" class="act" onClick={() => setAsked(asked + 1)}>{verdict ? "again" : "check every line"}</button>}>
      {problem ? <p class="bad" role="alert">{problem}</p> : !verdict ? <p class="dim">{asked ? "Reading every line." : "Lines and files against the digests that were written with them."}</p> : (
        <div role="status">
          <p><b class={`verdict ${verdict.verdict}`}>{verdict.verdict}</b> {count(verdict.lines, "line")}, {count(verdict.attachments, "file")}, {bytes(verdict.size_bytes)}</p>
          {verdict.digest && <p class="dim"><code>{verdict.digest}</code></p>}
          {verdict.findings.map((finding, at) => <p key={at} class="bad">{finding.message ?? finding.detail ?? plain(finding)}</p>)}
        </div>
      )}
    </Card>
  );
}

function Git({ git }: { git: Record<string, unknown> }) {
  if (git.repository === false) return <Card label="Git"><p class="dim">The script lay in no repository.</p></Card>;
  const diff = git.diff as { text?: string; cut?: boolean; lines?: number; redacted?: boolean } | string | undefined;
  const text = typeof diff === "string" ? diff : diff?.text;
  const entries = flat(Object.fromEntries(Object.entries(git).filter(([name]) => name !== "diff" && name !== "untracked")));
  return (
    <Card label="Git" wide={text !== undefined && text !== ""}>
      <Facts entries={entries.filter(([, item]) => item !== null).map(([name, item]) => [name, name === "commit" ? <code>{plain(item)}</code> : plain(item)])} />
      {Array.isArray(git.untracked) && git.untracked.length > 0 && <details><summary>{count(git.untracked.length, "untracked file")}</summary><pre tabIndex={0}>{git.untracked.join("\n")}</pre></details>}
      {text ? <details open={text.length < 4000}><summary>Changes not committed{typeof diff === "object" && diff.cut ? ", cut" : ""}</summary><Diff lines={diffLines(text)} label="Changes not committed" /></details> : null}
    </Card>
  );
}

function Command({ script }: { script: Record<string, unknown> }) {
  const words = (script.orig_argv ?? script.argv) as string[] | undefined;
  const line = words?.map(quoted).join(" ") ?? "";
  const cwd = typeof script.cwd === "string" ? script.cwd : "";
  const python = (script.python ?? {}) as Record<string, unknown>;
  return (
    <Card label="Command">
      {line && <Code label="Command" text={cwd ? `cd ${quoted(cwd)}\n${line}` : line} />}
      <Facts entries={[["script", plain(script.path)], ["python", [python.implementation, python.version].filter(Boolean).join(" ")]]} />
    </Card>
  );
}

function Environment({ env }: { env: Record<string, unknown> }) {
  return (
    <Card label="Environment">
      {Object.entries(env).map(([name, inner]) => {
        const entries = typeof inner === "object" && inner !== null ? Object.entries(inner) : [];
        return entries.length ? <details key={name}><summary>{entries.length} {name}</summary><Facts entries={entries.map(([key, item]) => [key, plain(item)])} /></details> : <Facts key={name} entries={[[name, plain(inner)]]} />;
      })}
    </Card>
  );
}

/** What the reader alone notes about an experiment; it is kept beside the experiments and not in this one. */
function PrivateNote({ id }: { id: string }) {
  const text = notes.value.get(short(id)) ?? "";
  const [draft, setDraft] = useState(text);
  useEffect(() => setDraft(text), [text, id]);
  if (!own.value?.writable) return null;
  return (
    <Card label="Private note" aside={draft !== text ? <button type="button" class="act" onClick={() => void keep("note", id, draft.trim() || null)}>save</button> : null}>
      <textarea class="private" aria-label="Private note" rows={3} placeholder="For your eyes; nothing is written into the experiment." value={draft} onInput={(event) => setDraft(event.currentTarget.value)} />
      {refusedOwn.value && <p class="bad" role="alert">{refusedOwn.value}</p>}
      <p class="foot">For all: <code>exp.add_note(…)</code></p>
    </Card>
  );
}

export function Overview({ of }: { of: Described }) {
  const params = flat(of.params);
  const metrics = Object.entries(of.metrics);
  const machine = of.machine ? flat(of.machine).filter(([, item]) => item !== null && !(Array.isArray(item) && !item.length)) : [];
  const hasBest = metrics.some(([, summary]) => summary.best !== null);
  const opened = `exp = mlv.Exp.open(${JSON.stringify(of.folder)})`;
  return (
    <div class="cards">
      {of.notes.length > 0 && (
        <Card wide label="Notes">
          {of.notes.map((note, at) => <div class="note" key={at}>{note.time !== null && <small>{moment(note.time)}</small>}<Markdown text={note.text} /></div>)}
        </Card>
      )}
      {of.runs.length > 0 && <Runs runs={of.runs} />}
      <Card label="Params">
        {params.length ? <Facts entries={params.map(([name, item]) => [name, plain(item)])} /> : <p class="dim">None.</p>}
      </Card>
      {metrics.length > 0 && (
        <Card label="Metrics" wide={metrics.length > 0}>
          <Rows label="Metrics" head={["name", "last", ...(hasBest ? ["best", "at step"] : []), "min", "max", "mean", "points", "NaN"]} numbers={[1, 2, 3, 4, 5, 6, 7, 8]}
            rows={metrics.map(([name, summary]) => [
              <>{name}{summary.described.unit && <small> {summary.described.unit}</small>}</>, value(summary.last), ...(hasBest ? [value(summary.best), value(summary.best_step)] : []), value(summary.min), value(summary.max), value(summary.mean), summary.count, summary.nans || "",
            ])} />
        </Card>
      )}
      {(of.parent || of.children.length > 0) && (
        <Card label="Family">
          {of.parent && <p>From <Lead to={{ exp: of.parent.id.slice(0, 12), tab: "overview" }}>{of.parent.name ?? of.parent.id.slice(0, 8)}</Lead>{of.parent.checkpoint ? <>, its checkpoint <code>{plain(of.parent.checkpoint.path ?? of.parent.checkpoint.name ?? "")}</code></> : null}.</p>}
          {of.children.length > 0 && <ul class="plain">{of.children.map((child) => <li key={child.id}><Lead to={{ exp: child.id.slice(0, 12), tab: "overview" }}>{child.kind ? `${child.kind}/` : ""}{child.name}</Lead> <Status status={child.status} /></li>)}</ul>}
        </Card>
      )}
      {of.script && <Command script={of.script} />}
      {of.git && Object.keys(of.git).length > 0 && <Git git={of.git} />}
      {machine.length > 0 && <Card label="Machine"><Facts entries={machine.map(([name, item]) => [name.replace(/_bytes$/, ""), name.endsWith("_bytes") && typeof item === "number" ? bytes(item) : plain(item)])} /></Card>}
      {of.env && <Environment env={of.env} />}
      <Verify id={of.id} />
      <PrivateNote id={of.id} />
      <Card label="Code" aside={<Copied text={opened} />}><pre tabIndex={0} aria-label="Python">{opened}</pre></Card>
    </div>
  );
}
