// Signs people in through the dashboard in Chromium, in each way there is: with an
// address confirmed by mail, with a new password, and with GitHub; always past a
// challenge of Turnstile, and refused when something does not fit.
//
//   node accounts.mjs <chromium> <API URL> <services URL> <owner's address> <owner's password> [folder for screenshots]
//
// GET <services URL>/letters has the mails that were sent. GitHub is at the services'
// address as well, with one person, whose address is hub@example.com.
import assert from "node:assert/strict";
import { Scene } from "./scene.mjs";
import { tooFaint } from "./contrast.mjs";

const [executablePath, apiURL, services, email, password, shots] = process.argv.slice(2);
assert(password, "usage: node accounts.mjs <chromium> <API URL> <services URL> <owner's address> <owner's password> [folder for screenshots]");

const letters = async () => (await (await fetch(services + "/letters")).json()).reverse();
// The page loads the challenge from where its policy allows it, and nowhere else.
const challenges = "https://challenges.cloudflare.com";
const script = `
  let given = 0;
  window.turnstile = {
    render(element, { sitekey, callback }) {
      const answer = (text, kind) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = text;
        button.onclick = () => callback(kind + "-" + ++given + "-" + Math.random());
        element.append(button);
      };
      element.dataset.sitekey = sitekey;
      answer("I am a person", "person");
      answer("I am a robot", "robot");
      return "the-widget";
    },
    remove() { for (const button of document.querySelectorAll(".challenge button")) button.remove(); },
  };`;

const owner = { email, password };
const scene = await Scene.open({ executablePath, apiURL, letters, shots, elsewhere: [new URL(services).origin, challenges], prepare });
await scene.play([challenged, confirmsAnAddress, choosesANewPassword, comesFromGitHub]);

function prepare(context) {
  return context.route(challenges + "/**", (route) => route.fulfill({ contentType: "text/javascript", body: script }));
}

// settled waits until the whole form is there. What comes last, when it is known what
// this installation offers, moves what was there: a click meanwhile may miss.
async function settled(page) {
  await page.getByRole("button", { name: "I am a robot" }).waitFor();
}

// signIn fills the form in that is shown.
async function signIn(page, { email, password }, answer = "I am a person") {
  await page.getByLabel("E-mail").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: answer }).click();
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

async function signOut(s, page, name) {
  await page.getByLabel("Account of " + name).click();
  // What the page asks for when the session ends is refused.
  await s.tolerating(/401/, async () => {
    await page.getByRole("button", { name: "Sign out" }).click();
    await s.heading("Sign in", page).waitFor();
    await s.goto("/sign-in", page);
  });
}

// stranger is somebody new with a page of their own.
async function stranger(s, path) {
  const context = await s.someone();
  const page = await s.watched(await context.newPage());
  await s.goto(path, page);
  return { page, leave: () => context.close() };
}

async function looksRight(s, page, name) {
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    // The challenge is another's, and looks as it likes.
    const faint = (await tooFaint(page)).filter((what) => !what.includes("I am a "));
    assert.deepEqual(faint, [], `${name} has text in ${colorScheme} that can hardly be read`);
    await s.shot(`${name}-${colorScheme}`, page);
  }
}

async function challenged(s) {
  const { page } = s;
  await s.goto("/sign-in");
  const submit = page.getByRole("button", { name: "Sign in", exact: true });
  await settled(page);
  assert.equal(await page.locator(".challenge").getAttribute("data-sitekey"), "the-site-key");
  assert(await submit.isDisabled(), "one can sign in without an answer to the challenge");
  await looksRight(s, page, "sign-in");
  await s.tolerating(/403/, async () => {
    await signIn(page, owner, "I am a robot");
    await page.getByRole("alert").getByText("The challenge was not passed").waitFor();
  });
  // An answer counts once: the next attempt needs another.
  assert(await submit.isDisabled(), "an answer to the challenge counts twice");
  await signIn(page, owner);
  await s.heading("Projects").waitFor();
  await signOut(s, page, owner.email);
  s.note("passed a challenge");
}

async function confirmsAnAddress(s) {
  const mary = { email: "mary@example.com", password: "a horse of another colour" };
  const { page, leave } = await stranger(s, "/sign-up?next=%2Fusage");
  await page.getByLabel("Name").fill("Mary");
  await page.getByLabel("E-mail").fill(mary.email);
  await page.getByLabel("Password").fill(mary.password);
  await page.getByRole("button", { name: "I am a person" }).click();
  await looksRight(s, page, "sign-up");
  await page.getByRole("button", { name: "Make the account" }).click();
  await s.heading("Look into your mail", page).waitFor();
  await page.getByText(mary.email).waitFor();
  // Until the link is followed there is no such account.
  await page.getByRole("link", { name: "Sign in" }).click();
  await s.tolerating(/401/, async () => {
    await signIn(page, mary);
    await page.getByText("The e-mail address or the password is not right.").waitFor();
  });
  const link = await s.linkTo(mary.email, /http:\/\/\S+\/api\/auth\/verify-email\?\S+/);
  await page.goto(link);
  await s.heading("Sign in", page).waitFor();
  await page.getByText("to make the account").waitFor();
  await page.waitForFunction(() => !location.href.includes("oken"));
  await signIn(page, mary);
  await s.heading("Usage", page).waitFor();
  await page.getByLabel("Account of Mary").waitFor();
  await leave();
  // It is spent.
  const late = await stranger(s, "/sign-in");
  await late.page.goto(link);
  await late.page.getByRole("alert").getByText("The link is too old, or has been used").waitFor();
  await late.leave();
  s.note("confirmed an address");
}

async function choosesANewPassword(s) {
  const { page } = s;
  const again = { email: owner.email, password: "an entirely new password" };
  const elsewhere = await stranger(s, "/sign-in");
  await signIn(elsewhere.page, owner);
  await s.heading("Projects", elsewhere.page).waitFor();

  await s.goto("/sign-in");
  const ask = async (address) => {
    await settled(page);
    await page.getByRole("link", { name: "Forgot the password?" }).click();
    await s.heading("Forgot the password").waitFor();
    await page.getByLabel("E-mail").fill(address);
    await page.getByRole("button", { name: "I am a person" }).click();
    await page.getByRole("button", { name: "Send a link" }).click();
    const said = page.getByText("is on its way there");
    await said.waitFor();
    return (await said.innerText()).replace(address, "");
  };
  const unknown = await ask("nobody@example.com");
  await page.getByRole("link", { name: "Back to signing in" }).click();
  assert.equal(await ask(owner.email), unknown, "the page tells who has an account");

  const link = await s.linkTo(owner.email, /http:\/\/\S+\/api\/auth\/reset-password\/\S+/);
  await page.goto(link);
  await s.heading("Choose a new password").waitFor();
  await page.waitForFunction(() => !location.href.includes("token"));
  await looksRight(s, page, "new-password");
  await page.getByLabel("New password").fill(again.password);
  // Whoever was signed in elsewhere no longer is, which that page may find out by itself.
  await s.tolerating(/401/, async () => {
    // It goes away by itself after a few seconds.
    const told = page.getByText("The password is changed. Sign in with it.").waitFor();
    await Promise.all([told, page.getByRole("button", { name: "Change the password" }).click()]);
    await s.heading("Sign in").waitFor();
    await s.goto("/usage", elsewhere.page);
    await s.heading("Sign in", elsewhere.page).waitFor();
    await elsewhere.leave();
    await signIn(page, owner);
    await page.getByText("The e-mail address or the password is not right.").waitFor();
  });
  await signIn(page, again);
  await s.heading("Projects").waitFor();
  await signOut(s, page, owner.email);

  await page.goto(link);
  await page.getByRole("alert").getByText("The link has been used or is too old").waitFor();
  s.note("chose a new password by a mailed link");
}

async function comesFromGitHub(s) {
  const { page, leave } = await stranger(s, "/sign-in?next=%2Fusage");
  await settled(page);
  await page.getByRole("button", { name: "Go on with GitHub" }).click();
  await page.getByRole("link", { name: "Cancel" }).click();
  await page.getByRole("alert").getByText("GitHub was told not to").waitFor();
  await settled(page);
  await page.getByRole("button", { name: "Go on with GitHub" }).click();
  await page.getByRole("link", { name: "Authorize" }).click();
  await s.heading("Usage", page).waitFor();
  await page.getByLabel("Account of Hub Person").click();
  await page.getByText("hub@example.com").waitFor();
  await leave();
  s.note("came from GitHub");
}
