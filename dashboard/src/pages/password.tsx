// A forgotten password, and a new one by the link in the mail.
import { useEffect, useState } from "preact/hooks";
import { call } from "../core/api";
import { forgetQuery, href, navigate, place } from "../core/router";
import { Door } from "../ui/door";
import { say } from "../ui/notice";
import { Button, ErrorNote, Field, useAction } from "../ui/parts";
import { Challenge } from "../ui/turnstile";
import { captchaHeader, readable, useSignConfig } from "./sign";

export function ForgotPassword() {
  const config = useSignConfig();
  const [email, setEmail] = useState("");
  const [sent, setSent] = useState(false);
  const [captcha, setCaptcha] = useState({ answer: "", round: 0 });
  const action = useAction(async () => {
    try {
      await call("POST", "/api/auth/request-password-reset", { body: { email, redirectTo: href("/reset-password") }, headers: captchaHeader(captcha.answer) });
      setSent(true);
    } finally {
      setCaptcha((before) => ({ answer: "", round: before.round + 1 }));
    }
  });
  return (
    <Door title="Forgot the password">
      {sent ? (
        <p class="prose" role="status">
          If there is an account with the address <strong>{email}</strong>, a link to choose a new password is on its way there.
        </p>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void action.run();
          }}
        >
          <ErrorNote error={readable(action.error)} />
          <Field label="E-mail" type="email" name="email" autocomplete="username" required autofocus value={email} onInput={setEmail} />
          <Challenge siteKey={config?.turnstileSiteKey} round={captcha.round} onAnswer={(answer) => setCaptcha((before) => ({ ...before, answer }))} />
          <Button type="submit" kind="primary" busy={action.busy} disabled={!!config?.turnstileSiteKey && !captcha.answer}>
            Send a link
          </Button>
        </form>
      )}
      <p class="door-foot">
        <a href={href("/sign-in")}>Back to signing in</a>
      </p>
    </Door>
  );
}

export function ResetPassword() {
  const [token] = useState(() => place.value.query.get("token") ?? "");
  const [password, setPassword] = useState("");
  // The link's secret does not stay in the address bar or the history.
  useEffect(forgetQuery, []);
  const action = useAction(async () => {
    await call("POST", "/api/auth/reset-password", { body: { token, newPassword: password } });
    say("The password is changed. Sign in with it.");
    navigate("/sign-in", { replace: true });
  });
  return (
    <Door title="Choose a new password">
      {token === "" ? (
        <p class="note bad" role="alert">
          The link has been used or is too old. Ask for a new one.
        </p>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void action.run();
          }}
        >
          <ErrorNote error={readable(action.error)} />
          <Field label="New password" type="password" autocomplete="new-password" required minLength={8} maxLength={128} autofocus hint="At least 8 characters. You are signed out everywhere." value={password} onInput={setPassword} />
          <Button type="submit" kind="primary" busy={action.busy}>
            Change the password
          </Button>
        </form>
      )}
      <p class="door-foot">
        <a href={href("/forgot-password")}>Ask for a new link</a>
      </p>
    </Door>
  );
}
