/** Light, dark, or as the system has it. */
import { readStored, writeStored } from "./storage.ts";

export type Appearance = "system" | "light" | "dark";

const KEY = "collabedit.appearance";
const ORDER: readonly Appearance[] = ["system", "light", "dark"];

const stored = readStored(KEY);
let current = $state<Appearance>(ORDER.find((appearance) => appearance === stored) ?? "system");

export const appearance = {
  get current(): Appearance {
    return current;
  },
  /** Goes on to the next one. */
  next(): void {
    current = ORDER[(ORDER.indexOf(current) + 1) % ORDER.length] ?? "system";
    writeStored(KEY, current);
    applyAppearance();
  },
};

/** Shows the page as chosen. */
export function applyAppearance(): void {
  document.documentElement.dataset.appearance = current;
}
