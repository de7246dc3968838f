/** The charts of some experiments, and the choices that they share. */
import { useEffect, useState } from "preact/hooks";
import { Chart } from "./chart";
import { count } from "./format";
import { named } from "./rows";
import { json } from "./source";
import { change, loading, paramNames, rows, view } from "./state";

function listed(text: string): string[] {
  return text.split(",").map((item) => item.trim()).filter(Boolean);
}

/** A field that is read once its writer is done. */
export function Field({ label, name, value, options, placeholder, wide, onChange }: {
  label: string;
  /** Its name for those who do not see what stands before it. */
  name?: string;
  value: string;
  options: readonly string[];
  placeholder?: string;
  wide?: boolean;
  onChange: (value: string) => void;
}) {
  // What is being written stays, whatever is drawn anew meanwhile.
  const [draft, setDraft] = useState(value);
  useEffect(() => setDraft(value), [value]);
  const id = `options-${(name ?? label).replace(/\W+/g, "-")}`;
  return (
    <label class={wide ? "wide" : ""}>
      <span>{label}</span>
      <input list={id} {...(name ? { "aria-label": name } : {})} value={draft} placeholder={placeholder ?? ""} spellcheck={false} autocomplete="off" onInput={(event) => setDraft(event.currentTarget.value)} onChange={(event) => {
        onChange(event.currentTarget.value.trim());
      }} />
      <datalist id={id}>{options.slice(0, 500).map((option) => <option key={option} value={option} />)}</datalist>
    </label>
  );
}

export function Check({ label, checked, title, onChange }: { label: string; checked: boolean; title?: string; onChange: () => void }) {
  return <label class="check" title={title ?? ""}><input type="checkbox" checked={checked} onChange={onChange} /> {label}</label>;
}

export function Choices({ ids, names }: { ids: readonly string[]; names: readonly string[] }) {
  const { exp, m, x, y, lx, over, smooth, zoom, robust, crowd, asof } = view.value;
  const [axes, setAxes] = useState<readonly string[]>([]);
  const question = ids.slice(0, 100).join();
  const [isAsked, setAsked] = useState(false);
  useEffect(() => {
    // Names of axes are asked for once the reader turns to the choices.
    if (isAsked && question) void json<{ axes: string[] }>("metrics", { ids: question, asof }).then((answer) => setAxes(answer.axes), () => undefined);
  }, [isAsked, question, asof]);
  return (
    <div class="choices" role="toolbar" aria-label="Choices for all charts" onFocusCapture={() => setAsked(true)}>
      <Field wide label="metrics" placeholder="all, or train/*, val/acc" options={names} value={m.join(", ")} onChange={(text) => change({ m: listed(text) })} />
      <Field label="x" options={axes.length ? axes : ["step", "time", "elapsed", "active", ...names.map((name) => `metrics.${name}`)]} value={x} onChange={(text) => change({ x: text || "step", zoom: null })} />
      <Check label="log x" checked={lx} onChange={() => change({ lx: !lx, zoom: null })} />
      <Check label="log y" title="Where there are zeros or negative values the axis becomes that of arcsinh" checked={y === "log"} onChange={() => change({ y: y === "log" ? "linear" : "log" })} />
      <Check label="robust" title="Leave the outermost 2 % of columns beyond the axis, counted" checked={robust} onChange={() => change({ robust: !robust })} />
      {!exp && <Check label="others" title="Also those that are not picked, in grey" checked={crowd} onChange={() => change({ crowd: !crowd })} />}
      {!exp && <Field label="bands over" placeholder="seed" options={paramNames.value} value={over.join(", ")} onChange={(text) => change({ over: listed(text) })} />}
      <label>smooth <input id="smooth" type="range" min="0" max="0.99" step="0.01" value={smooth} aria-valuetext={smooth ? String(smooth) : "off"} onInput={(event) => change({ smooth: Number(event.currentTarget.value) }, smooth !== 0)} /><output>{smooth || "off"}</output></label>
      {zoom && <button type="button" onClick={() => change({ zoom: null })}>zoom out</button>}
    </div>
  );
}

// An experiment may have thousands of metrics, and each chart is some nodes of the page even while it is out of sight.
const stride = 100;

export function Charts({ ids, names }: { ids: readonly string[]; names: readonly string[] }) {
  const matching = names.filter((name) => named(name, view.value.m));
  const [most, setMost] = useState(stride);
  const has = (name: string): string[] => ids.filter((id) => rows.value.get(id)?.metrics[name]);
  if (!matching.length) return <p class="empty">{loading.value ? "Reading." : names.length ? "No metric has such a name." : "No metric to draw."}</p>;
  return (
    <>
      <div class="charts">{matching.slice(0, most).map((name) => <Chart key={name} metric={name} ids={has(name)} />)}</div>
      {matching.length > most && <p class="more"><button type="button" class="act" onClick={() => setMost(most + stride)}>{Math.min(stride, matching.length - most)} more of {count(matching.length, "metric")}</button></p>}
    </>
  );
}
