// Which page an address shows.
import type { ComponentChildren } from "preact";
import { useLayoutEffect } from "preact/hooks";
import { navigate, place, safeNext } from "./core/router";
import { organization, start, startError, user } from "./core/session";
import { Account } from "./pages/account";
import { Audit } from "./pages/audit";
import { DeadLetters } from "./pages/deadletters";
import { DeploymentPage } from "./pages/deployment";
import { Device } from "./pages/device";
import { Invitation } from "./pages/invitation";
import { Members } from "./pages/members";
import { NoOrganization } from "./pages/organization";
import { ProjectPage } from "./pages/project";
import { Projects } from "./pages/projects";
import { ForgotPassword, ResetPassword } from "./pages/password";
import { SignIn, SignUp } from "./pages/sign";
import { Tokens } from "./pages/tokens";
import { Usage } from "./pages/usage";
import { WebhookPage, Webhooks } from "./pages/webhooks";
import { Shell } from "./shell";
import { KeyHelp } from "./ui/keys";
import { Afloat } from "./ui/mark";
import { Notices, Questions } from "./ui/notice";
import { Button, ErrorNote, Loading } from "./ui/parts";

export function App() {
  return (
    <>
      <View />
      <Questions />
      <KeyHelp />
      <Notices />
    </>
  );
}

function View() {
  const { path } = place.value;
  const outside = outsideView(path);
  if (outside) return outside;
  if (startError.value)
    return (
      <main class="centered">
        <ErrorNote error={startError.value} />
        <Button kind="primary" onClick={() => void start()}>
          Try again
        </Button>
      </main>
    );
  if (user.value === undefined)
    return (
      <main class="centered">
        <Loading />
      </main>
    );
  if (user.value === null) return <ToSignIn />;
  return (
    <Shell>
      <Inside path={path} />
    </Shell>
  );
}

// outsideView is what one sees without being signed in.
function outsideView(path: string): ComponentChildren {
  switch (path) {
    case "/sign-in":
      // Who follows a mailed link may be signed in as somebody else.
      return user.value && !place.value.query.has("confirmationToken") ? <Onward /> : <SignIn />;
    case "/sign-up":
      return user.value ? <Onward /> : <SignUp />;
    case "/forgot-password":
      return <ForgotPassword />;
    case "/reset-password":
      return <ResetPassword />;
  }
  return undefined;
}

function Onward() {
  useLayoutEffect(() => navigate(safeNext(place.value.query.get("next")), { replace: true }), []);
  return null;
}

function ToSignIn() {
  useLayoutEffect(() => {
    const { path, query } = place.value;
    const next = path + (query.size > 0 ? "?" + query.toString() : "");
    navigate(next === "/" ? "/sign-in" : "/sign-in?next=" + encodeURIComponent(next), { replace: true });
  }, []);
  return null;
}

function Inside({ path }: { path: string }) {
  const parts = path.split("/").filter(Boolean).map(decode);
  const [first, second, third] = parts;
  // At once, as in a dialog.
  useLayoutEffect(() => {
    document.querySelector<HTMLElement>("main h1")?.focus({ preventScroll: true });
    // On a phone the rows of links are wider than the screen.
    for (const current of document.querySelectorAll("nav [aria-current=page]")) current.scrollIntoView({ block: "nearest", inline: "center" });
  }, [path]);
  switch (first) {
    case "device":
      return <Device />;
    case "invitation":
      return <Invitation />;
    case "account":
      return <Account />;
  }
  if (!organization.value) return <NoOrganization />;
  // What belongs to another organization is another page.
  return <Of key={organization.value.id} first={first} second={second} third={third} />;
}

function Of({ first, second, third }: { first?: string; second?: string; third?: string }) {
  switch (first) {
    case undefined:
      return <Projects />;
    case "projects":
      if (second) return <ProjectPage key={second} id={second} view={third ?? "overview"} />;
      return <Projects />;
    case "deployments":
      if (second) return <DeploymentPage key={second} id={second} />;
      break;
    case "dead-letters":
      return <DeadLetters />;
    case "usage":
      return <Usage />;
    case "tokens":
      return <Tokens />;
    case "members":
      return <Members />;
    case "webhooks":
      return second ? <WebhookPage key={second} id={second} /> : <Webhooks />;
    case "audit":
      return <Audit />;
  }
  return (
    <div class="empty">
      <Afloat />
      <h1 tabIndex={-1}>There is no such page</h1>
      <p>
        <a href="/app">Go to the projects</a>
      </p>
    </div>
  );
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
