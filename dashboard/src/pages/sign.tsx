// Signing in and up.
import { useEffect, useState } from "preact/hooks";
import { type ApiError, asError, call, get } from "../core/api";
import { forgetQuery, href, navigate, place, safeNext, safeURL } from "../core/router";
import { enter } from "../core/session";
import type { User } from "../core/types";
import { Door } from "../ui/door";
import { Button, ErrorNote, Field, useAction } from "../ui/parts";
import { Challenge } from "../ui/turnstile";

export interface SignConfig {
  signUp: "open" | "invited" | "closed";
  confirmEmail: boolean;
  github: boolean;
  turnstileSiteKey?: string;
}

export function useSignConfig(): SignConfig | undefined {
  const [config, set] = useState<SignConfig | undefined>();
  useEffect(() => {
    const stop = new AbortController();
    get<SignConfig>("/api/auth/config", stop.signal)
      .then(set)
      .catch(() => {
        // The form works without; what it cannot offer the API refuses.
      });
    return () => stop.abort();
  }, []);
  return config;
}

// The answer to a challenge goes in a header, as better-auth's client sends it.
export const captchaHeader = (answer: string): Record<string, string> | undefined => (answer ? { "x-captcha-response": answer } : undefined);

const next = () => place.value.query.get("next");
const carry = (path: string) => href(path) + (next() ? "?next=" + encodeURIComponent(next() ?? "") : "");

// invitation is the token of an invitation that somebody goes on to. It shows that the
// address is theirs, so that they need no other mail.
const invitation = (to: string) => (to.startsWith("/invitation?") ? new URLSearchParams(to.slice(to.indexOf("?"))).get("token") : null);

// wayErrors are what the way here may say: from a mailed link, or back from GitHub.
const wayErrors: Record<string, string> = {
  INVALID_TOKEN: "The link is too old, or has been used: then sign in.",
  signup_disabled: "There is no account for this GitHub user here, and accounts cannot be made by signing up.",
  account_not_linked: "There is an account with this address that signs in with a password. Sign in with it.",
  email_not_found: "GitHub did not tell a verified address.",
  access_denied: "GitHub was told not to.",
};

export function SignIn() {
  const config = useSignConfig();
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [captcha, setCaptcha] = useState({ answer: "", round: 0 });
  const came = place.value.query.get("error");
  // A mailed link leads here, to make the account of a sign-up with its password.
  const [confirmationToken] = useState(() => place.value.query.get("confirmationToken") ?? undefined);
  const [callbackURL] = useState(() => place.value.query.get("callbackURL") ?? undefined);
  useEffect(() => {
    // The link's secret does not stay in the address bar or the history.
    if (confirmationToken) forgetQuery();
  }, []);
  const action = useAction(async () => {
    try {
      const answer = await call<{ user: User; url?: string }>("POST", "/api/auth/sign-in/email", { body: { email, password, rememberMe: true, callbackURL, confirmationToken }, headers: captchaHeader(captcha.answer) });
      const to = safeNext(next());
      // Where it may lead the API says.
      const onward = answer.url && safeURL(new URL(answer.url, location.origin).href);
      if (onward) return location.replace(onward);
      await enter(answer.user);
      navigate(to, { replace: true });
    } finally {
      // An answer to a challenge counts once.
      setCaptcha((before) => ({ answer: "", round: before.round + 1 }));
    }
  });
  return (
    <Door title="Sign in">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void action.run();
        }}
      >
        {came && !action.error && (
          <p class="note bad" role="alert">
            {wayErrors[came] ?? "Signing in with GitHub did not work. Try again."}
          </p>
        )}
        {confirmationToken && !action.error && <p class="note">Sign in with the password that you have just chosen, to make the account.</p>}
        <ErrorNote error={readable(action.error)} />
        <Field label="E-mail" type="email" name="email" autocomplete="username" required autofocus value={email} onInput={setEmail} />
        <Field label="Password" type="password" name="password" autocomplete="current-password" required value={password} onInput={setPassword} />
        <Challenge siteKey={config?.turnstileSiteKey} round={captcha.round} onAnswer={(answer) => setCaptcha((before) => ({ ...before, answer }))} />
        <Button type="submit" kind="primary" busy={action.busy} disabled={!!config?.turnstileSiteKey && !captcha.answer}>
          Sign in
        </Button>
      </form>
      <GitHub config={config} />
      <p class="door-foot">
        <a href={href("/forgot-password")}>Forgot the password?</a>
        {config?.signUp !== "closed" && (
          <span>
            New here? <a href={carry("/sign-up")}>Make an account</a>
          </span>
        )}
      </p>
    </Door>
  );
}

export function SignUp() {
  const config = useSignConfig();
  const [name, setName] = useState("");
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [captcha, setCaptcha] = useState({ answer: "", round: 0 });
  const [mailed, setMailed] = useState(false);
  const action = useAction(async () => {
    try {
      const to = safeNext(next());
      const answer = await call<{ token: string | null; user: User }>("POST", "/api/auth/sign-up/email", {
        body: { name, email, password, callbackURL: href(to), ...(invitation(to) ? { invitationToken: invitation(to) } : {}) },
        headers: captchaHeader(captcha.answer),
      });
      if (!answer.token) {
        setMailed(true);
        return;
      }
      await enter(answer.user);
      navigate(to, { replace: true });
    } finally {
      setCaptcha((before) => ({ answer: "", round: before.round + 1 }));
    }
  });
  if (mailed)
    return (
      <Door title="Look into your mail">
        <p class="prose" role="status">
          A link to finish with is on its way to <strong>{email}</strong>. If an account has that address already, the mail says so.
        </p>
        <p class="door-foot">
          <a href={carry("/sign-in")}>Sign in</a>
        </p>
      </Door>
    );
  return (
    <Door title="Make an account">
      {config?.signUp === "closed" ? (
        <p class="note warn">Accounts are made by this installation's operators. Ask one of them.</p>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void action.run();
          }}
        >
          {config?.signUp === "invited" && <p class="note">This needs an invitation: use the address that it was sent to.</p>}
          <ErrorNote error={readable(action.error)} />
          <Field label="Name" name="name" autocomplete="name" required maxLength={100} autofocus value={name} onInput={setName} />
          <Field label="E-mail" type="email" name="email" autocomplete="username" required value={email} onInput={setEmail} />
          <Field label="Password" type="password" name="password" autocomplete="new-password" required minLength={8} maxLength={128} hint="At least 8 characters" value={password} onInput={setPassword} />
          <Challenge siteKey={config?.turnstileSiteKey} round={captcha.round} onAnswer={(answer) => setCaptcha((before) => ({ ...before, answer }))} />
          <Button type="submit" kind="primary" busy={action.busy} disabled={!!config?.turnstileSiteKey && !captcha.answer}>
            Make the account
          </Button>
        </form>
      )}
      <GitHub config={config} />
      <p class="door-foot">
        <span>
          Have one? <a href={carry("/sign-in")}>Sign in</a>
        </span>
      </p>
    </Door>
  );
}

function GitHub({ config }: { config: SignConfig | undefined }) {
  const action = useAction(async () => {
    const answer = await call<{ url: string }>("POST", "/api/auth/sign-in/social", {
      body: { provider: "github", callbackURL: href(safeNext(next())), errorCallbackURL: carry("/sign-in"), disableRedirect: true },
    });
    const to = safeURL(answer.url);
    if (!to) throw asError(new Error("The answer has no address to go on at."));
    location.assign(to);
  });
  if (!config?.github) return null;
  return (
    <div class="other-way">
      <p aria-hidden="true">or</p>
      <ErrorNote error={action.error} />
      <Button onClick={() => void action.run()} busy={action.busy}>
        Go on with GitHub
      </Button>
    </div>
  );
}

// readable says in whole sentences what the sign-in routes say tersely, in the words of their protocol.
export function readable(error: ApiError | undefined): ApiError | undefined {
  if (!error) return undefined;
  const words: Record<string, string> = {
    INVALID_EMAIL_OR_PASSWORD: "The e-mail address or the password is not right.",
    INVALID_EMAIL: "That is no e-mail address.",
    PASSWORD_TOO_SHORT: "The password is too short; it needs at least 8 characters.",
    PASSWORD_TOO_LONG: "The password is too long.",
    USER_ALREADY_EXISTS: "There is an account with this address already. Sign in with it.",
    USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL: "There is an account with this address already. Sign in with it.",
    INVALID_PASSWORD: "The current password is not right.",
    INVALID_TOKEN: "The link has been used or is too old. Ask for a new one.",
    VERIFICATION_FAILED: "The challenge was not passed. Try it again.",
    MISSING_RESPONSE: "Answer the challenge first.",
  };
  const better = words[error.code];
  if (!better) return error;
  error.message = better;
  return error;
}
