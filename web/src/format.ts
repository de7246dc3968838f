/** Values in words for people. */

/** Write a number in at most `digits` significant digits, without what would only be noise. */
export function number(value: number, digits = 4): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  // Whole numbers keep all their digits: a step or a count is a name as much as a size.
  if (Number.isInteger(value) && size < 1e15) return minus(size >= 1e5 ? groups(value) : String(value));
  if (size >= 1e6 || size < 1e-4) {
    const [mantissa, power] = value.toExponential(digits - 1).split("e") as [string, string];
    return minus(`${shorten(mantissa)}e${power.replace("+", "")}`);
  }
  const decimals = Math.max(digits - 1 - Math.floor(Math.log10(size)), 0);
  return minus(shorten(value.toFixed(Math.min(decimals, 12))));
}

function shorten(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

function minus(text: string): string {
  return text.replace(/-/g, "−");
}

/** Write a count with its thousands apart. */
export function groups(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** Count a noun: "1 point", "12 points". */
export function count(value: number, noun: string, plural = `${noun}s`): string {
  return `${groups(value)} ${value === 1 ? noun : plural}`;
}

/** Count the nouns that are shown of all: "12 of 1,000 points", or "12 points" where all are. */
export function countOf(value: number, total: number, noun: string): string {
  return value === total ? count(total, noun) : `${groups(value)} of ${count(total, noun)}`;
}

/** Write a span of seconds by its two largest units. */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return "";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const units: [number, string][] = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const index = units.findIndex(([size]) => seconds >= size);
  const [size, unit] = units[index]!;
  const next = units[index + 1]!;
  const whole = Math.floor(seconds / size);
  const remainder = Math.floor((seconds - whole * size) / next[0]);
  return remainder && whole < 100 ? `${whole} ${unit} ${remainder} ${next[1]}` : `${whole} ${unit}`;
}

/** Write how long ago a moment was, by one unit. */
export function age(seconds: number): string {
  if (!Number.isFinite(seconds)) return "";
  const size = Math.max(seconds, 0);
  if (size < 1.5) return "now";
  const units: [number, string][] = [[31557600, "y"], [86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [unit, name] = units.find(([unit]) => size >= unit)!;
  return `${Math.floor(size / unit)} ${name}`;
}

/** Write a moment of today in hours and minutes, any other to the minute. */
export function clock(seconds: number, now: number): string {
  const [whole, today] = [moment(seconds), moment(now)];
  return whole.slice(0, 10) === today.slice(0, 10) ? whole.slice(11, 16) : whole.slice(0, 16);
}

/** Write how long ago a moment was, as words. */
export function ago(seconds: number): string {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return "just now";
  if (minutes < 100) return `${count(minutes, "minute")} ago`;
  return `${age(seconds)} ago`;
}

/** Write a size of a file. */
export function bytes(size: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let index = 0;
  let value = size;
  while (value >= 1000 && index < units.length - 1) {
    value /= 1000;
    index += 1;
  }
  return `${index && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[index]}`;
}

/** Write a moment in the reader's zone, to the second. */
export function moment(seconds: number): string {
  if (!Number.isFinite(seconds)) return "";
  const date = new Date(seconds * 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} `
    + `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** Write any value of a log on one line. */
export function plain(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return number(value, 6);
  if (typeof value === "string") return value;
  if (typeof value === "boolean") return String(value);
  return JSON.stringify(value);
}

/** Write the end of a range in an address for people: a number in few digits, a word as it is. */
export function end(text: string): string {
  return text.trim() !== "" && Number.isFinite(Number(text)) ? number(Number(text)) : text;
}

/** Count the characters that follow the whole part of a number, to stand digits of a column under one another. */
export function decimals(text: string): number {
  const match = /^[−-]?[\d,]+(\.\d+)?$/.exec(text);
  return match ? (match[1]?.length ?? 0) : -1;
}
