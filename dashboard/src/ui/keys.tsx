// The keyboard: / searches, j and k or the arrows go through a list, ? says so.
import { signal } from "@preact/signals";
import { Dialog } from "./dialog";

const helpShown = signal(false);

function typing(target: EventTarget | null): boolean {
  const element = target as HTMLElement | null;
  return !!element?.closest?.("input, textarea, select, [contenteditable]");
}

function step(by: number) {
  const rows = [...document.querySelectorAll<HTMLElement>("main [data-row]")].filter((row) => row.offsetParent !== null);
  if (rows.length === 0) return false;
  const at = rows.findIndex((row) => row === document.activeElement || row.closest("tr, li")?.contains(document.activeElement));
  const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, at + by))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
  return true;
}

export function listenForKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (typing(event.target)) {
      if (event.key === "Escape") {
        // Chrome would empty a search field without saying so.
        event.preventDefault();
        (event.target as HTMLElement).blur();
      }
      return;
    }
    const inList = (document.activeElement as HTMLElement | null)?.matches("[data-row]") ?? false;
    let taken = true;
    switch (event.key) {
      case "/": {
        const search = document.querySelector<HTMLInputElement>("input[type=search]");
        if (search) search.focus();
        else taken = false;
        break;
      }
      case "j":
        taken = step(1);
        break;
      case "k":
        taken = step(-1);
        break;
      case "ArrowDown":
        taken = inList && step(1);
        break;
      case "ArrowUp":
        taken = inList && step(-1);
        break;
      case "?":
        helpShown.value = true;
        break;
      default:
        taken = false;
    }
    if (taken) event.preventDefault();
  });
}

export const showHelp = () => (helpShown.value = true);

const keys: [string, string][] = [
  ["/", "Search"],
  ["j  ↓", "Next in the list"],
  ["k  ↑", "The one before"],
  ["Enter", "Open it"],
  ["Esc", "Close a dialog, leave a field"],
  ["?", "This help"],
];

export function KeyHelp() {
  if (!helpShown.value) return null;
  return (
    <Dialog title="Keyboard" close={() => (helpShown.value = false)}>
      <dl class="keys">
        {keys.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
