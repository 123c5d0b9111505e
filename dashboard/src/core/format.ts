// Figures and times as people read them.
import { signal } from "@preact/signals";

// The time, for what counts up on the screen.
export const now = signal(Date.now());
setInterval(() => {
  if (document.visibilityState === "visible") now.value = Date.now();
}, 1000);

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "narrow" });
const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

export function ago(at: string | undefined): string {
  if (!at) return "";
  const seconds = Math.round((Date.parse(at) - now.value) / 1000);
  const size = Math.abs(seconds);
  if (size < 5) return "now";
  if (size < 60) return relative.format(seconds, "second");
  if (size < 3600) return relative.format(Math.round(seconds / 60), "minute");
  if (size < 86400) return relative.format(Math.round(seconds / 3600), "hour");
  if (size < 86400 * 30) return relative.format(Math.round(seconds / 86400), "day");
  return day.format(Date.parse(at));
}

export const exactly = (at: string) => exact.format(Date.parse(at));
export const onDay = (at: string) => day.format(Date.parse(at));

export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return "–";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} d`;
}

export function between(from: string | undefined, to: string | undefined): number {
  if (!from) return NaN;
  return (to ? Date.parse(to) : now.value) - Date.parse(from);
}

export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (n >= 1024 && unit < units.length - 1) {
    n /= 1024;
    unit++;
  }
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[unit]}`;
}

const grouped = new Intl.NumberFormat("en");
export const count = (n: number) => grouped.format(n);
export const plural = (n: number, one: string, many = one + "s") => `${count(n)} ${n === 1 ? one : many}`;

// short is the part of an id that tells it from others at a glance.
export const short = (id: string) => id.replace(/^[a-z]+_/, "").slice(0, 10);

// sentence has a capital at its start.
export const sentence = (words: string) => words.charAt(0).toUpperCase() + words.slice(1).replaceAll("_", " ");

// browserOf is what people call the browser that a user agent names.
export function browserOf(agent: string): string {
  const browser = /Edg\//.test(agent) ? "Edge" : /Firefox\//.test(agent) ? "Firefox" : /Chrome\//.test(agent) ? "Chrome" : /Safari\//.test(agent) ? "Safari" : "";
  const system = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : /Mac OS X/.test(agent) ? "macOS" : /Windows/.test(agent) ? "Windows" : /Linux/.test(agent) ? "Linux" : "";
  if (!browser) return agent.slice(0, 60) || "An unknown program";
  return system ? `${browser} on ${system}` : browser;
}
