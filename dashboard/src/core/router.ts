// Addresses of the page: everything below /app is this one program, and the path says what it shows.
import { signal } from "@preact/signals";

export const root = "/app";

export interface Place {
  path: string; // below the root, without a slash at the end; "/" for the root itself
  query: URLSearchParams;
}

function here(): Place {
  const below = location.pathname.slice(root.length).replace(/\/+$/, "");
  return { path: below === "" ? "/" : below, query: new URLSearchParams(location.search) };
}

export const place = signal<Place>(here());

// navigate goes to a path below the root.
export function navigate(path: string, options: { replace?: boolean } = {}) {
  const address = root + (path === "/" ? "" : path);
  if (options.replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  place.value = here();
  if (!options.replace) scrollTo(0, 0);
}

// forget takes a secret that came in a mailed link out of the address and the history.
export function forgetQuery() {
  history.replaceState(null, "", location.pathname);
}

export const href = (path: string) => root + (path === "/" ? "" : path);

// listen follows the browser's own buttons, and links, without loading the page anew.
export function listen() {
  addEventListener("popstate", () => {
    place.value = here();
  });
  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest("a");
    if (!link || link.target || link.hasAttribute("download")) return;
    const to = new URL(typeof link.href === "string" ? link.href : (link.getAttribute("href") ?? ""), location.href);
    if (to.origin !== location.origin || (to.pathname !== root && !to.pathname.startsWith(root + "/"))) return;
    if (to.hash && to.pathname === location.pathname) return;
    event.preventDefault();
    navigate((to.pathname.slice(root.length) || "/") + to.search);
  });
}

// safeNext is where to go after signing in: a path of this page and nothing else.
export function safeNext(next: string | null): string {
  if (!next || !next.startsWith("/") || next.startsWith("//") || next.includes("\\")) return "/";
  const to = new URL(root + next, location.origin);
  return to.origin === location.origin && to.pathname.startsWith(root + "/") ? next : "/";
}

// safeURL is an address from data, if it is one a browser may open.
export function safeURL(address: string | undefined): string | undefined {
  if (!address) return undefined;
  try {
    const url = new URL(address);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : undefined;
  } catch {
    return undefined;
  }
}
