/** What was printed, as in a terminal. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useAnswer } from "./answers";
import { Check, Field } from "./charts";
import { json } from "./source";
import { change, changes, view } from "./state";
import { render } from "./terminal";

interface Printed {
  time: number;
  name: string;
  text: string;
  run: string;
}

interface Answer {
  lines: Printed[];
  before: string | null;
}

export function Console({ id }: { id: string }) {
  const { asof, find } = view.value;
  const query = { asof, q: find, limit: "1000" };
  const { value, problem } = useAnswer<Answer>(`exp/${id}/console`, query, changes.value.get(id.slice(0, 12)));
  const [earlier, setEarlier] = useState<Answer & { key: string } | null>(null);
  const [wraps, setWraps] = useState(true);
  const box = useRef<HTMLPreElement>(null);
  const isAtEnd = useRef(true);
  const key = [id, asof, find].join();
  const more = earlier?.key === key ? earlier : null;
  const last = more?.lines[more.lines.length - 1]?.time ?? -Infinity;
  const lines = [...(more?.lines ?? []), ...(value?.lines ?? []).filter((line) => !more || line.time > last)];
  const before = more ? more.before : (value?.before ?? null);
  useLayoutEffect(() => {
    const element = box.current;
    // New lines move the view only of one who looks at the last.
    if (element && isAtEnd.current) element.scrollTop = element.scrollHeight;
  }, [lines.length]);
  useEffect(() => {
    isAtEnd.current = true;
  }, [key]);
  const load = (): void => {
    isAtEnd.current = false;
    void json<Answer>(`exp/${id}/console`, { ...query, before: before ?? "" }).then((answer) => setEarlier({ key, lines: [...answer.lines, ...lines], before: answer.before }));
  };
  const spans = render(lines.map((line) => line.text.replace(/\n$/, "")).join("\n"));
  return (
    <div class="console">
      <div class="choices">
        <Field wide label="search" options={[]} value={find} onChange={(text) => change({ find: text })} />
        <Check label="wrap" checked={wraps} onChange={() => setWraps(!wraps)} />
        {before && <button type="button" onClick={load}>earlier</button>}
      </div>
      {problem && <p class="bad" role="alert">{problem}</p>}
      {value && lines.length === 0 ? <p class="empty">Nothing was kept of what was printed: <code>mlv.Exp(..., console=True)</code> keeps it.</p> : (
        <pre ref={box} class={wraps ? "terminal wraps" : "terminal"} tabIndex={0} aria-label="Console" onScroll={(event) => {
          const element = event.currentTarget;
          isAtEnd.current = element.scrollTop + element.clientHeight > element.scrollHeight - 30;
        }}>
          {spans.map((line, at) => (
            <span key={at}>{line.map((span, index) => (span.style.length ? <span key={index} class={span.style.join(" ")}>{span.text}</span> : span.text))}{"\n"}</span>
          ))}
        </pre>
      )}
    </div>
  );
}
