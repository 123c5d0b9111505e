// Small parts that every page is made of.
import type { ComponentChildren, InputHTMLAttributes } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { type ApiError, asError } from "../core/api";
import { ago, exactly, sentence } from "../core/format";
import { safeURL } from "../core/router";
import { Afloat } from "./mark";
import { say } from "./notice";

export type Tone = "ok" | "bad" | "warn" | "run" | "idle";

export function Badge({ tone, children, title }: { tone: Tone; children: ComponentChildren; title?: string }) {
  return (
    <span class={`badge ${tone}`} title={title}>
      <span class="dot" aria-hidden="true" />
      {children}
    </span>
  );
}

// Tag is a property that is neither good nor bad: a role, a scope.
export function Tag({ children, title }: { children: string; title?: string }) {
  return (
    <span class="tag" title={title}>
      {sentence(children)}
    </span>
  );
}

interface ButtonProps {
  children: ComponentChildren;
  onClick?: () => void;
  kind?: "primary" | "danger" | "quiet" | "plain";
  type?: "button" | "submit";
  busy?: boolean;
  disabled?: boolean;
  title?: string;
  label?: string;
  small?: boolean;
}

export function Button({ children, onClick, kind = "plain", type = "button", busy, disabled, title, label, small }: ButtonProps) {
  return (
    <button class={`button ${kind}${small ? " small" : ""}`} type={type} onClick={onClick} disabled={disabled || busy} aria-busy={busy} title={title} aria-label={label}>
      {children}
    </button>
  );
}

// useAction runs one thing at a time and keeps what went wrong for showing.
export function useAction<A extends unknown[]>(action: (...args: A) => Promise<unknown>) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<ApiError | undefined>();
  const alive = useRef(true);
  useEffect(() => () => void (alive.current = false), []);
  const run = async (...args: A): Promise<boolean> => {
    if (busy) return false;
    setBusy(true);
    setError(undefined);
    try {
      await action(...args);
      return true;
    } catch (thrown) {
      if (alive.current) setError(asError(thrown));
      return false;
    } finally {
      if (alive.current) setBusy(false);
    }
  };
  return { run, busy, error, clear: () => setError(undefined) };
}

export function ErrorNote({ error, retry }: { error: ApiError | undefined; retry?: () => void }) {
  if (!error) return null;
  return (
    <div class="note bad" role="alert">
      <div>
        <p>{error.message}</p>
        <p class="code">{error.code}</p>
      </div>
      {retry && (
        <Button small onClick={retry}>
          Try again
        </Button>
      )}
    </div>
  );
}

type Plain = Pick<InputHTMLAttributes, "autocomplete" | "autofocus" | "disabled" | "max" | "maxLength" | "min" | "minLength" | "name" | "pattern" | "placeholder" | "required" | "spellcheck" | "step">;

interface FieldProps extends Plain {
  type?: "text" | "email" | "password" | "number" | "url";
  label: string;
  hint?: ComponentChildren;
  problem?: string;
  value: string;
  onInput: (value: string) => void;
}

export function Field({ label, hint, problem, value, onInput, type = "text", ...rest }: FieldProps) {
  const id = useId();
  const about = problem || hint ? id + "-about" : undefined;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <input {...rest} type={type as "text"} id={id} value={value} aria-describedby={about} aria-invalid={problem ? true : undefined} onInput={(event) => onInput(event.currentTarget.value)} />
      {about && (
        <p id={about} class={problem ? "problem" : "hint"}>
          {problem ?? hint}
        </p>
      )}
    </div>
  );
}

interface ChoiceProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  options: { value: string; text: string }[];
  hideLabel?: boolean;
  disabled?: boolean;
}

export function Choice({ label, value, onChange, options, hideLabel, disabled }: ChoiceProps) {
  const id = useId();
  return (
    <div class={hideLabel ? "choice" : "field"}>
      <label for={id} class={hideLabel ? "unseen" : undefined}>
        {label}
      </label>
      <select id={id} value={value} disabled={disabled} onChange={(event) => onChange(event.currentTarget.value)}>
        {options.map((option) => (
          <option key={option.value} value={option.value} selected={option.value === value}>
            {option.text}
          </option>
        ))}
      </select>
    </div>
  );
}

export function Time({ at }: { at: string | undefined }) {
  if (!at) return <span class="muted">–</span>;
  return (
    <time dateTime={at} title={exactly(at)}>
      {ago(at)}
    </time>
  );
}

export function Copy({ value, what }: { value: string; what: string }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(value);
      say(`Copied ${what}.`);
    } catch {
      say(`The browser does not let the page copy. Select ${what} and copy it by hand.`, "bad");
    }
  };
  return (
    <Button kind="quiet" small onClick={() => void copy()} label={`Copy ${what}`}>
      Copy
    </Button>
  );
}

// Outside is a link from data. What is no web address is shown as text.
export function Outside({ to, children }: { to: string | undefined; children?: ComponentChildren }) {
  const url = safeURL(to);
  if (!url) return <span>{children ?? to}</span>;
  return (
    <a href={url} target="_blank" rel="noopener noreferrer">
      {children ?? url.replace(/^https?:\/\//, "").replace(/\/$/, "")}
    </a>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <Afloat />
      <p class="title">{title}</p>
      {children}
    </div>
  );
}

interface PanelProps {
  title: string;
  actions?: ComponentChildren;
  children: ComponentChildren;
  // flush leaves no room around what has its own.
  flush?: boolean;
  // bare has no head of its own; the page's says what it is.
  bare?: boolean;
}

export function Panel({ title, actions, children, flush, bare }: PanelProps) {
  const id = useId();
  if (bare)
    return (
      <section class="panel" aria-label={title}>
        <div class="body flush">{children}</div>
      </section>
    );
  return (
    <section class="panel" aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {actions && <div class="actions">{actions}</div>}
      </header>
      <div class={flush ? "body flush" : "body"}>{children}</div>
    </section>
  );
}

export function PageHead({ title, sub, actions, back }: { title: ComponentChildren; sub?: ComponentChildren; actions?: ComponentChildren; back?: ComponentChildren }) {
  return (
    <div class="page-head">
      <div class="words">
        {back && <p class="back">{back}</p>}
        <h1 tabIndex={-1}>{title}</h1>
        {sub && <p class="sub">{sub}</p>}
      </div>
      {actions && <div class="actions">{actions}</div>}
    </div>
  );
}

export function Loading() {
  return (
    <div class="loading" role="status">
      <span class="unseen">Loading …</span>
      <span class="bone" />
      <span class="bone" />
      <span class="bone" />
    </div>
  );
}

export function More({ more, loading }: { more?: () => void; loading: boolean }) {
  if (!more) return null;
  return (
    <div class="more">
      <Button small onClick={more} busy={loading}>
        Show more
      </Button>
    </div>
  );
}

export function Meter({ part, label, tone = "run" }: { part: number; label: string; tone?: Tone }) {
  const percent = Math.max(0, Math.min(100, part * 100));
  return (
    <div class={`meter ${tone}`} role="progressbar" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(percent)}>
      <span style={{ width: `${percent}%` }} />
    </div>
  );
}
