import type { ComponentChildren, TargetedKeyboardEvent } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";

// Dialog is modal: the focus goes round inside, Escape closes it, and the focus is then
// where it was before, or at the page's head if that is gone.
export function Dialog({ title, close, children, wide }: { title: string; close: () => void; children: ComponentChildren; wide?: boolean }) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  // At once, and not after the next frame: by then the focus may be elsewhere on purpose.
  useLayoutEffect(() => {
    const dialog = element.current;
    const before = document.activeElement as HTMLElement | null;
    if (dialog && !dialog.open) dialog.showModal();
    return () => {
      dialog?.close();
      const back = before?.isConnected && before !== document.body ? before : document.querySelector<HTMLElement>("main h1");
      back?.focus();
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={wide ? "wide" : undefined}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
      onKeyDown={goRound}
      onClick={(event) => event.target === element.current && close()}
    >
      <div class="dialog-body">
        <header>
          <h2 id={id}>{title}</h2>
          <button class="button quiet small" type="button" onClick={close} aria-label="Close">
            ✕
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}

const stops = "a[href], button:not(:disabled), input:not(:disabled), select:not(:disabled), textarea:not(:disabled), [tabindex='0']";

// goRound takes Tab from the last control to the first, and back. The browser would go
// on to its own buttons.
function goRound(event: TargetedKeyboardEvent<HTMLDialogElement>) {
  if (event.key !== "Tab") return;
  const all = event.currentTarget.querySelectorAll<HTMLElement>(stops);
  const [from, to] = event.shiftKey ? [all[0], all[all.length - 1]] : [all[all.length - 1], all[0]];
  if (document.activeElement !== from && event.currentTarget.contains(document.activeElement) && document.activeElement !== event.currentTarget) return;
  event.preventDefault();
  to?.focus();
}
