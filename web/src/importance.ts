/** Which param matters: how much of a metric's variance is gone once experiments are grouped by a param. */
import { number } from "./format";
import { cell, compare, put } from "./rows";
import type { Row } from "./source";

export interface Share {
  param: string;
  /** Share of the variance, from 0 to 1, less what as many groups explain by chance. */
  share: number;
  /** Experiments that have both, and groups. */
  rows: number;
  groups: { label: string; count: number; mean: number }[];
}

/** More different numbers than these are cut into groups of equal size. */
export const mostValues = 8;
const bins = 5;

export const method = `The share of a metric's variance that is gone once experiments are grouped by the value of a param, less what as many groups explain by chance (ε², as in an analysis of variance with one factor). `
  + `Numbers with more than ${mostValues} values are cut into ${bins} groups of equal size. Params that were varied together share what they explain: this tells what to look at, and not what is the cause.`;

/** Divide rows by a param: by its values, or numbers by their order. */
export function groupsOf(rows: readonly Row[], param: string): Map<string, Row[]> {
  const having = rows.filter((row) => cell(row, param) != null);
  const distinct = [...new Set(having.map((row) => cell(row, param)))];
  const groups = new Map<string, Row[]>();
  if (distinct.length > mostValues && distinct.every((value) => typeof value === "number")) {
    const sorted = (distinct as number[]).sort((a, b) => a - b);
    // Equal values stay together, so that a group is a range of the param.
    const group = new Map(sorted.map((value, at) => [value, Math.min(Math.floor((at * bins) / sorted.length), bins - 1)]));
    for (let bin = 0; bin < bins; bin += 1) {
      const own = sorted.filter((value) => group.get(value) === bin);
      if (own.length) groups.set(own.length > 1 ? `${number(own[0]!)} … ${number(own[own.length - 1]!)}` : number(own[0]!), having.filter((row) => group.get(cell(row, param) as number) === bin));
    }
    return groups;
  }
  for (const row of [...having].sort((one, two) => compare(cell(one, param), cell(two, param)))) {
    const value = cell(row, param);
    const key = typeof value === "object" ? JSON.stringify(value) : String(value);
    put(groups, key, row);
  }
  return groups;
}

/** Rank params by what they explain of a metric; one that does not vary is left out. */
export function importance(rows: readonly Row[], metric: string, params: readonly string[]): Share[] {
  const usable = rows.filter((row) => Number.isFinite(cell(row, metric)));
  return params.flatMap((param): Share[] => {
    const groups = [...groupsOf(usable, param)].map(([label, own]) => {
      const values = own.map((row) => cell(row, metric) as number);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      return { label, values, mean };
    });
    const all = groups.flatMap((group) => group.values);
    if (groups.length < 2 || all.length <= groups.length) return [];
    const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
    const total = all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (all.length - 1);
    const within = groups.reduce((sum, group) => sum + group.values.reduce((own, value) => own + (value - group.mean) ** 2, 0), 0) / (all.length - groups.length);
    if (!(total > 0)) return [];
    return [{ param, share: Math.max(0, 1 - within / total), rows: all.length, groups: groups.map(({ label, values, mean }) => ({ label, count: values.length, mean })) }];
  }).sort((one, two) => two.share - one.share);
}
