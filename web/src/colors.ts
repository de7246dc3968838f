/** Colours of picked experiments: ten that colour-blind readers can tell apart, then the same ones dashed. */

// Each as shown on light and on dark; all have at least three to one against their ground.
const light = ["#3e609d", "#dc3f22", "#0e7339", "#be2a79", "#a76e00", "#6993be", "#7f44be", "#4e7113", "#4b3430", "#b52f4f"];
const dark = ["#78b9ff", "#e28545", "#00c984", "#ef99ce", "#eab34e", "#a5d8fa", "#907dd2", "#98ae17", "#cfd0be", "#c75873"];

export const slots = light.length;

/** Choose the colour of a slot. */
export function color(slot: number, isDark: boolean): string {
  return (isDark ? dark : light)[slot % slots]!;
}

/** Choose the dashes of a slot: none for the first ten. */
export function dashes(slot: number): number[] {
  return [[], [6, 3], [2, 3], [10, 3, 2, 3]][Math.min(Math.floor(slot / slots), 3)]!;
}

/** Mix a colour into a ground, so that a band stays opaque and cheap to draw. */
export function mixed(hex: string, ground: string, share: number): string {
  const channel = (text: string, index: number): number => parseInt(text.slice(1 + 2 * index, 3 + 2 * index), 16);
  const value = [0, 1, 2].map((index) => Math.round(channel(hex, index) * share + channel(ground, index) * (1 - share)));
  return `#${value.map((item) => item.toString(16).padStart(2, "0")).join("")}`;
}

// Viridis at nine stops: even in brightness, readable without colour.
const ramp = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];

/** Choose a colour for a value between 0 and 1. */
export function scale(share: number): string {
  const position = Math.min(Math.max(share, 0), 1) * (ramp.length - 1);
  const index = Math.min(Math.floor(position), ramp.length - 2);
  return mixed(ramp[index + 1]!, ramp[index]!, position - index);
}
