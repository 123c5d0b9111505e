// Cloudflare's challenge, where the installation asks for it. Only then does the
// page's policy let it be loaded, the one thing that comes from elsewhere.
import { useEffect, useRef } from "preact/hooks";

interface Turnstile {
  render(element: HTMLElement, options: { sitekey: string; callback: (answer: string) => void; "expired-callback": () => void }): string;
  remove(widget: string): void;
}

const source = "https://challenges.cloudflare.com/turnstile/v0/api.js?render=explicit";

let loading: Promise<Turnstile> | undefined;

function load(): Promise<Turnstile> {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = source;
    script.async = true;
    script.onload = () => resolve((window as unknown as { turnstile: Turnstile }).turnstile);
    script.onerror = () => {
      loading = undefined;
      reject(new Error("The challenge could not be loaded."));
    };
    document.head.append(script);
  });
  return loading;
}

export function Challenge({ siteKey, round, onAnswer }: { siteKey: string | undefined; round: number; onAnswer: (answer: string) => void }) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!siteKey) return;
    let widget: string | undefined;
    let gone = false;
    load().then(
      (turnstile) => {
        if (gone || !box.current) return;
        widget = turnstile.render(box.current, { sitekey: siteKey, callback: onAnswer, "expired-callback": () => onAnswer("") });
      },
      () => {
        if (box.current) box.current.textContent = "The challenge could not be loaded. Check the connection and load the page again.";
      },
    );
    return () => {
      gone = true;
      if (widget !== undefined) void load().then((turnstile) => turnstile.remove(widget!));
    };
  }, [siteKey, round]);
  return siteKey ? <div class="challenge" ref={box} /> : null;
}
