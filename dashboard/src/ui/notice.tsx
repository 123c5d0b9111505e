// Short notices at the foot of the page, and questions before what cannot be undone.
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Dialog } from "./dialog";
import { Button, ErrorNote, useAction } from "./parts";

interface Notice {
  id: number;
  text: string;
  tone: "ok" | "bad";
}

const notices = signal<Notice[]>([]);
let last = 0;

export function say(text: string, tone: "ok" | "bad" = "ok") {
  const id = ++last;
  notices.value = [...notices.value.slice(-2), { id, text, tone }];
  setTimeout(() => (notices.value = notices.value.filter((n) => n.id !== id)), tone === "bad" ? 8000 : 4000);
}

export function Notices() {
  return (
    <div class="notices" role="status" aria-live="polite">
      {notices.value.map((n) => (
        <p key={n.id} class={n.tone}>
          {n.text}
        </p>
      ))}
    </div>
  );
}

interface Question {
  title: string;
  text: ComponentChildren;
  action: string;
  danger?: boolean;
  // What has to be typed first, for what takes a great deal with it.
  typed?: string;
  run: () => Promise<unknown>;
}

const question = signal<Question | undefined>(undefined);

// ask shows a question; run is what happens when the answer is yes.
export function ask(q: Question) {
  question.value = q;
}

export function Questions() {
  const q = question.value;
  if (!q) return null;
  return <Asked key={q.title} q={q} close={() => (question.value = undefined)} />;
}

function Asked({ q, close }: { q: Question; close: () => void }) {
  const [typed, setTyped] = useState("");
  const action = useAction(q.run);
  const submit = async () => {
    if (await action.run()) close();
  };
  return (
    <Dialog title={q.title} close={close}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <div class="prose">{q.text}</div>
        {q.typed !== undefined && (
          <div class="field">
            <label for="asked-typed">
              Type <code>{q.typed}</code> to go on
            </label>
            <input id="asked-typed" value={typed} autocomplete="off" onInput={(event) => setTyped(event.currentTarget.value)} />
          </div>
        )}
        <ErrorNote error={action.error} />
        <div class="form-actions">
          <Button onClick={close}>Cancel</Button>
          <Button type="submit" kind={q.danger ? "danger" : "primary"} busy={action.busy} disabled={q.typed !== undefined && typed !== q.typed}>
            {q.action}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
