/** One experiment as the server describes it. */

export interface Run {
  run: string;
  status: string;
  started: number | null;
  ended: number | null;
  duration_s: number | null;
  paused: boolean;
  params: Record<string, unknown>;
  exception: { type?: string; message?: string; traceback?: string } | null;
  host: string | null;
  pid: number | null;
  children: Run[];
}

export interface Summary {
  last: unknown;
  min: unknown;
  max: unknown;
  best: unknown;
  mean: unknown;
  count: number;
  nans: number;
  last_step: unknown;
  best_step: unknown;
  described: { mode?: string; unit?: string; format?: string };
}

export interface FileEntry {
  path: string;
  size: number | null;
  sha256: string | null;
  media_type: string | null;
  name: string;
  step: number | null;
  time: number;
  run: string;
  seq: number;
}

export interface CheckpointEntry {
  portfolio: string;
  name: string;
  step: number | null;
  save: number;
  metrics: Record<string, unknown>;
  file: { path?: string; size?: number; sha256?: string };
  paths: string[];
  is_best: boolean;
  is_superseded: boolean;
}

export interface Overview {
  id: string;
  name: string;
  path: string;
  folder: string;
  kind: string | null;
  created: number | null;
  status: string;
  total_s: number | null;
  params: Record<string, unknown>;
  tags: string[];
  notes: { time: number | null; text: string; run: string | null }[];
  parent: { id: string; name: string | null; checkpoint: Record<string, unknown> | null; path: string | null } | null;
  children: { id: string; name: string; kind: string | null; status: string }[];
  runs: Run[];
  script: Record<string, unknown> | null;
  git: Record<string, unknown> | null;
  env: Record<string, unknown> | null;
  machine: Record<string, unknown> | null;
  metrics: Record<string, Summary>;
  media: { type: string; name: string; count: number }[];
  files: FileEntry[];
  checkpoints: CheckpointEntry[];
  system: string[];
  streams: string[];
}

/** Join the names of nested mappings by dots; an empty mapping stays a value. */
export function flat(value: Readonly<Record<string, unknown>>, start = ""): [string, unknown][] {
  return Object.entries(value).flatMap(([name, item]): [string, unknown][] => {
    const isMapping = typeof item === "object" && item !== null && !Array.isArray(item) && Object.keys(item).length > 0;
    return isMapping && start.split(".").length < 8 ? flat(item as Record<string, unknown>, `${start}${name}.`) : [[start + name, item]];
  });
}

export interface Span {
  run: Run;
  depth: number;
  /** Where it begins and how long it is, as shares of the whole time. */
  left: number;
  width: number;
}

/** Lay runs, and those within them, on a line of time; one that goes on reaches to now. */
export function timeLine(runs: readonly Run[], now: number): { spans: Span[]; from: number; to: number } {
  const flatRuns: { run: Run; depth: number }[] = [];
  const visit = (run: Run, depth: number): void => {
    flatRuns.push({ run, depth });
    for (const child of run.children) visit(child, depth + 1);
  };
  for (const run of runs) visit(run, 0);
  const begin = (run: Run): number => run.started ?? run.ended ?? now;
  const end = (run: Run): number => run.ended ?? (run.status === "running" ? now : run.duration_s !== null && run.started !== null ? run.started + run.duration_s : begin(run));
  const from = Math.min(...flatRuns.map(({ run }) => begin(run)));
  const to = Math.max(...flatRuns.map(({ run }) => end(run)));
  const whole = to - from || 1;
  return {
    from, to,
    spans: flatRuns.map(({ run, depth }) => ({ run, depth, left: (begin(run) - from) / whole, width: Math.max(end(run) - begin(run), 0) / whole })),
  };
}

/** Quote a word for a shell, where it needs it. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, "'\\''")}'`;
}
