import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { Mark } from "./mark";

// Door is the page in front of everything else.
export function Door({ title, children }: { title: string; children: ComponentChildren }) {
  useEffect(() => {
    document.title = title + " · Slipway";
  }, [title]);
  return (
    <main class="door" id="main">
      <div class="door-box">
        <p class="door-brand">
          <Mark />
          Slipway
        </p>
        <h1>{title}</h1>
        {children}
      </div>
    </main>
  );
}
