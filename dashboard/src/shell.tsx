// What is around every page: where one is, who one is, and whether what is shown is live.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { connection } from "./core/live";
import { href, navigate, place } from "./core/router";
import { may, organization, organizations, signOut, switchTo, user } from "./core/session";
import { Mark } from "./ui/mark";
import { showHelp } from "./ui/keys";
import { say } from "./ui/notice";
import { choose, type Theme, theme } from "./ui/theme";
import { asError } from "./core/api";

interface Item {
  to: string;
  text: string;
  under: string[];
}

const items: Item[] = [
  { to: "/", text: "Projects", under: ["", "projects", "deployments"] },
  { to: "/dead-letters", text: "Dead letters", under: ["dead-letters"] },
  { to: "/usage", text: "Usage", under: ["usage"] },
  { to: "/members", text: "Members", under: ["members"] },
  { to: "/tokens", text: "API tokens", under: ["tokens"] },
  { to: "/webhooks", text: "Webhooks", under: ["webhooks"] },
  { to: "/audit", text: "Audit log", under: ["audit"] },
];

const adminsOnly = new Set(["/webhooks", "/audit"]);

export function Shell({ children }: { children: ComponentChildren }) {
  const at = place.value.path.split("/")[1] ?? "";
  return (
    <div class="shell">
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href={href("/")}>
          <Mark />
          <span>Slipway</span>
        </a>
        <OrganizationSwitch />
        <div class="right">
          <Connection />
          <ThemeSwitch />
          <AccountMenu />
        </div>
      </header>
      <nav class="side" aria-label="Organization">
        <ul>
          {items
            .filter((item) => !adminsOnly.has(item.to) || may("admin"))
            .map((item) => (
              <li key={item.to}>
                <a href={href(item.to)} aria-current={item.under.includes(at) ? "page" : undefined}>
                  {item.text}
                </a>
              </li>
            ))}
        </ul>
        <ul class="foot">
          <li>
            <a href="/docs" target="_blank" rel="noopener">
              API reference
            </a>
          </li>
          <li>
            <button type="button" class="linkish" onClick={showHelp}>
              Keyboard <kbd>?</kbd>
            </button>
          </li>
        </ul>
      </nav>
      <main id="main" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

function OrganizationSwitch() {
  const all = organizations.value;
  const current = organization.value;
  if (!current) return null;
  return (
    <div class="choice organization">
      <label class="unseen" for="organization">
        Organization
      </label>
      <select
        id="organization"
        value={current.id}
        onChange={(event) => {
          const to = event.currentTarget.value;
          if (to === "+") {
            event.currentTarget.value = current.id;
            navigate("/account?new=organization");
            return;
          }
          switchTo(to);
          navigate("/");
        }}
      >
        {all.map((o) => (
          <option key={o.id} value={o.id} selected={o.id === current.id}>
            {o.name}
          </option>
        ))}
        <option value="+">New organization …</option>
      </select>
    </div>
  );
}

// Connection says when what is shown may be old. A blink is not worth a word, in either
// direction: screen readers are told once that it is lost, and once that it is back.
function Connection() {
  const state = connection.value;
  const [live, setLive] = useState(true);
  const lost = useRef(false);
  useEffect(() => {
    const timer = setTimeout(() => setLive(state === "open"), 2500);
    return () => clearTimeout(timer);
  }, [state]);
  if (!live) lost.current = true;
  return (
    <p class={live ? "connection" : "connection away"} title={live ? "What is shown is kept up to date" : "What is shown may be old"}>
      <span class="dot" aria-hidden="true" />
      <span>{live ? "Live" : state === "ended" ? "Not live" : "Reconnecting …"}</span>
      <span class="unseen" role="status">
        {lost.current && (live ? "What is shown is up to date again" : "The connection is lost; what is shown may be old")}
      </span>
    </p>
  );
}

const themes: { value: Theme; text: string; sign: string }[] = [
  { value: "system", text: "System", sign: "◐" },
  { value: "light", text: "Light", sign: "☀" },
  { value: "dark", text: "Dark", sign: "☾" },
];

function ThemeSwitch() {
  const at = themes.findIndex((t) => t.value === theme.value);
  const next = themes[(at + 1) % themes.length]!;
  const current = themes[at]!;
  return (
    <button type="button" class="button quiet small icon" onClick={() => choose(next.value)} title={`Colours: ${current.text}`} aria-label={`Colours: ${current.text}. Change to ${next.text}`}>
      <span aria-hidden="true">{current.sign}</span>
    </button>
  );
}

function AccountMenu() {
  const menu = useRef<HTMLDetailsElement>(null);
  const who = user.value;
  const close = () => menu.current?.removeAttribute("open");
  useEffect(() => {
    const outside = (event: Event) => {
      if (!menu.current?.contains(event.target as Node)) close();
    };
    const escape = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || !menu.current?.open) return;
      close();
      menu.current.querySelector("summary")?.focus();
    };
    document.addEventListener("pointerdown", outside);
    document.addEventListener("keydown", escape);
    return () => {
      document.removeEventListener("pointerdown", outside);
      document.removeEventListener("keydown", escape);
    };
  }, []);
  if (!who) return null;
  const initial = (who.name || who.email).trim().charAt(0).toUpperCase() || "?";
  return (
    <details class="menu" ref={menu}>
      <summary aria-label={`Account of ${who.name || who.email}`}>
        <span class="avatar" aria-hidden="true">
          {initial}
        </span>
      </summary>
      <div class="menu-body">
        <p class="who">
          <strong>{who.name || who.email}</strong>
          <span class="muted">{who.email}</span>
        </p>
        <a href={href("/account")} onClick={close}>
          Account
        </a>
        <button type="button" onClick={() => void signOut().catch((thrown) => say(asError(thrown).message, "bad"))}>
          Sign out
        </button>
      </div>
    </details>
  );
}
