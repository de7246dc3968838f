/** Lines of Python, SQL and shell that make what is shown. */
import { useAnswer } from "./answers";
import { Card, Code } from "./bits";
import { address } from "./address";
import { view } from "./state";

interface Answer {
  python: string | null;
  sql: string | null;
  shell: string | null;
  notes?: string[];
}

export function CodeOf() {
  const { exp, tab } = view.value;
  const query = Object.fromEntries(new URLSearchParams(address({ ...view.value, tab: "overview" }).split("?")[1] ?? ""));
  const { value, problem } = useAnswer<Answer>("code", { ...query, ...(exp ? { exp, tab } : {}) });
  return (
    <div class="cards">
      {problem && <p class="bad" role="alert">{problem}</p>}
      {value && ([["Python", value.python], ["SQL", value.sql], ["Shell", value.shell]] as const).map(([label, text]) => text && <Card wide key={label} label={label}><Code label={label} text={text} /></Card>)}
      {value?.notes?.map((note) => <p key={note} class="dim">{note}</p>)}
    </div>
  );
}
