/** Events of an experiment from the latest back, with search, and one line as it stands in the log. */
import { useEffect, useState } from "preact/hooks";
import { useAnswer } from "./answers";
import { Code, Rows } from "./bits";
import { Check, Field } from "./charts";
import { bytes, moment, plain } from "./format";
import { Verify } from "./overview";
import { json } from "./source";
import { change, pulses, view } from "./state";

export interface LoggedEvent {
  run: string;
  seq: number;
  time: number;
  type: string;
  name: string;
  step: unknown;
  at: Record<string, unknown>;
  stream: string;
  data: unknown;
  cut?: boolean;
}

interface Answer {
  events: LoggedEvent[];
  before: string | null;
}

const types = ["metrics", "message", "event", "checkpoint", "file", "note", "image", "text", "table", "histogram", "audio", "video", "figure", "span", "system", "tag", "run_started", "run_ended", "rejected", "seal"];

function words(event: LoggedEvent): string {
  const text = event.cut ? "long: open the line" : plain(event.data);
  return text.length > 400 ? `${text.slice(0, 400)}…` : text;
}

export function Events({ id }: { id: string }) {
  const { type, find, line, asof } = view.value;
  const query = { type, q: find, asof, limit: "100" };
  const { value, problem } = useAnswer<Answer>(`exp/${id}/events`, query, pulses.value.get(id.slice(0, 12)));
  const [earlier, setEarlier] = useState<{ key: string; events: LoggedEvent[]; before: string | null } | null>(null);
  const [failed, setFailed] = useState("");
  const key = [id, type, find, asof].join();
  const more = earlier?.key === key ? earlier : null;
  const before = more ? more.before : (value?.before ?? null);
  // Lines that came since the earlier ones were asked for stand between both answers, and none is shown twice.
  const seen = new Set<string>();
  const events = [...(value?.events ?? []), ...(more?.events ?? [])].filter((event) => {
    const name = `${event.stream} ${event.run}.${event.seq}`;
    return !seen.has(name) && seen.add(name);
  });
  const load = (): void => {
    json<Answer>(`exp/${id}/events`, { ...query, before: before ?? "" }).then(
      (answer) => setEarlier({ key, events: [...(more?.events ?? events), ...answer.events], before: answer.before }),
      (error: Error) => setFailed(error.message),
    );
  };
  return (
    <div class="events">
      <div class="choices">
        <Field wide label="type" placeholder="all" options={types} value={type} onChange={(text) => change({ type: text })} />
        <Field wide label="search" placeholder="words of a line" options={[]} value={find} onChange={(text) => change({ find: text })} />
        <Check label="without metrics" checked={type === types.slice(1).join(",")} onChange={() => change({ type: type === types.slice(1).join(",") ? "" : types.slice(1).join(",") })} />
      </div>
      {line && <Line id={id} line={line} />}
      {(problem || failed) && <p class="bad" role="alert">{problem || failed}</p>}
      {value && (events.length === 0 ? <p class="empty">{before ? "Not yet among the latest lines." : "No event."}</p> : (
        <Rows label="Events" head={["time", "type", "name", "step", "data", "open"]} numbers={[3]} rows={events.map((event) => [
          <time title={moment(event.time)}>{moment(event.time).slice(11)}</time>, <span class="chip">{event.type}</span>, event.name, plain(event.step),
          <span class="data" title={words(event)}>{words(event)}</span>,
          <button type="button" class="act" aria-label={`line ${event.run}.${event.seq}`} onClick={() => change({ line: `${event.run}.${event.seq}` })}>line</button>,
        ])} />
      ))}
      {before && <p class="more"><button type="button" class="act" onClick={load}>{find || type ? "search further back" : "earlier"}</button></p>}
    </div>
  );
}

interface LineAnswer {
  line: string;
  file: string;
  offset: number;
  bytes: number;
  event: LoggedEvent | null;
}

function pretty(line: string): string {
  try {
    return JSON.stringify(JSON.parse(line), null, 2);
  } catch {
    return line;
  }
}

/** One line as it stands in the log, and where. */
function Line({ id, line }: { id: string; line: string }) {
  const at = line.lastIndexOf(".");
  const { value, problem } = useAnswer<LineAnswer>(`exp/${id}/line`, { run: line.slice(0, at), seq: line.slice(at + 1) });
  const [isPretty, setPretty] = useState(true);
  useEffect(() => setPretty(true), [line]);
  return (
    <section class="line" aria-label="Line">
      <header><h2>Line {line}</h2><Check label="in order" checked={isPretty} onChange={() => setPretty(!isPretty)} /><button type="button" class="act" onClick={() => change({ line: "" })}>close</button></header>
      {problem && <p class="bad" role="alert">{problem}</p>}
      {value && (
        <>
          <p class="dim">{value.file}, byte {value.offset}, {bytes(value.bytes)}{value.event ? `, ${moment(value.event.time)}` : ""}</p>
          <Code label="Line" text={isPretty ? pretty(value.line) : value.line.trimEnd()} />
          <Verify id={id} />
        </>
      )}
    </section>
  );
}
