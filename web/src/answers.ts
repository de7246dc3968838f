/** Answers of the server as state of a component. */
import { useEffect, useRef, useState } from "preact/hooks";
import { json } from "./source";

export interface Asked<T> {
  value: T | null;
  problem: string;
}

/** Least time between two questions for the same. */
const pause = 1000;

/** Ask, and ask again when `turn` changes; the former answer stays until the next one is there. No path asks nothing. */
export function useAnswer<T>(path: string, query: Record<string, string> = {}, turn: unknown = 0): Asked<T> {
  const key = path && JSON.stringify([path, query]);
  const [state, setState] = useState<Asked<T> & { key: string }>({ key: "", value: null, problem: "" });
  const last = useRef({ key: "", at: -Infinity });
  useEffect(() => {
    if (!path) return undefined;
    const asking = new AbortController();
    const wait = last.current.key === key ? Math.max(0, last.current.at + pause - performance.now()) : 0;
    const timer = setTimeout(() => {
      last.current = { key, at: performance.now() };
      json<T>(path, query, asking.signal).then(
        (value) => setState({ key, value, problem: "" }),
        (error: Error) => {
          if (error.name !== "AbortError") setState((before) => ({ key, value: before.key === key ? before.value : null, problem: error.message }));
        },
      );
    }, wait);
    return () => {
      clearTimeout(timer);
      asking.abort();
    };
  }, [key, turn]);
  return state.key === key ? state : { value: null, problem: "" };
}
