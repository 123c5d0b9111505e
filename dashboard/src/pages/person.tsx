// What others see of oneself, and the password.
import { useState } from "preact/hooks";
import { post } from "../core/api";
import { user } from "../core/session";
import { say } from "../ui/notice";
import { Button, ErrorNote, Field, Panel, useAction } from "../ui/parts";
import type { Changes } from "./activity";
import { readable } from "./sign";

export function Name({ changed }: Changes) {
  const [name, setName] = useState(user.value?.name ?? "");
  const action = useAction(async () => {
    await post("/api/auth/update-user", { name });
    if (user.value) user.value = { ...user.value, name };
    say("Saved.");
    changed();
  });
  return (
    <Panel title="Name">
      <form
        class="inline-form"
        onSubmit={(event) => {
          event.preventDefault();
          void action.run();
        }}
      >
        <Field label="How others see you" required maxLength={100} autocomplete="name" value={name} onInput={setName} />
        <Button type="submit" busy={action.busy} disabled={name === user.value?.name}>
          Save
        </Button>
      </form>
      <ErrorNote error={action.error} />
    </Panel>
  );
}

export function Password({ changed }: Changes) {
  const [current, setCurrent] = useState("");
  const [next, setNext] = useState("");
  const [others, setOthers] = useState(true);
  const action = useAction(async () => {
    await post("/api/auth/change-password", { currentPassword: current, newPassword: next, revokeOtherSessions: others });
    setCurrent("");
    setNext("");
    say("The password is changed.");
    changed();
  });
  return (
    <Panel title="Password">
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void action.run();
        }}
      >
        <ErrorNote error={readable(action.error)} />
        <input class="unseen" type="email" autocomplete="username" value={user.value?.email ?? ""} readOnly tabIndex={-1} aria-hidden="true" />
        <Field label="Current password" type="password" required autocomplete="current-password" value={current} onInput={setCurrent} />
        <Field label="New password" type="password" required minLength={8} maxLength={128} autocomplete="new-password" hint="At least 8 characters" value={next} onInput={setNext} />
        <label class="check">
          <input type="checkbox" checked={others} onChange={(event) => setOthers(event.currentTarget.checked)} /> Sign out everywhere else
        </label>
        <div class="form-actions">
          <Button type="submit" busy={action.busy}>
            Change the password
          </Button>
        </div>
      </form>
    </Panel>
  );
}
