// Light, dark, or as the system is. theme.js applies a choice before the page is painted.
import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const name = "slipway.theme";

export const theme = signal<Theme>(read());

function read(): Theme {
  const set = document.documentElement.dataset.theme;
  return set === "light" || set === "dark" ? set : "system";
}

export function choose(next: Theme) {
  theme.value = next;
  if (next === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = next;
  try {
    if (next === "system") localStorage.removeItem(name);
    else localStorage.setItem(name, next);
  } catch {
    // It lasts as long as the page is open, then.
  }
}
