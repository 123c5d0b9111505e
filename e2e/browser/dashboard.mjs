// Uses the dashboard in Chromium as a person would, from signing up to going back to
// an earlier release, and has every panel show what is done through the API without
// being loaded again. It fails as well when the console shows an error, the page's
// policy is broken, or anything is asked of another machine.
//
//   node dashboard.mjs <chromium> <API URL> <control URL> <folder of mails> <work folder> [folder for screenshots]
//
// POST <control URL>/break has the storage stall after the next build, /fail then fail,
// /mend ends either.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { deadLetters, failingBuild, firstDeployment, rollout, secondDeploymentAndBack, workerLog } from "./deploying.mjs";
import { everyPage, keyboard, offline } from "./looks.mjs";
import { device, makeToken, members, panels } from "./panels.mjs";
import { Scene } from "./scene.mjs";

const [executablePath, apiURL, control, mails, work, shots] = process.argv.slice(2);
assert(work, "usage: node dashboard.mjs <chromium> <API URL> <control URL> <folder of mails> <work folder> [folder for screenshots]");

const scene = await Scene.open({ executablePath, apiURL, letters, shots });
Object.assign(scene, { control, work, person: { name: "Ada", email: "ada@example.com", password: "correct horse battery" } });
await scene.play([signUp, makeToken, firstDeployment, secondDeploymentAndBack, rollout, failingBuild, panels, workerLog, deadLetters, device, members, keyboard, offline, everyPage, signedOut, noticesABrokenPolicy]);

// letters are what is written into the folder of mails, the newest first.
async function letters() {
  const names = (await readdir(mails).catch(() => [])).sort().reverse();
  const texts = await Promise.all(names.map((name) => readFile(join(mails, name), "utf8")));
  return texts.map((text) => text.replace(/=\r?\n/g, "").replaceAll("=3D", "="));
}

async function signUp(s) {
  const { page, person } = s;
  await s.goto("/usage");
  await s.heading("Sign in").waitFor();
  assert.equal(new URL(page.url()).search, "?next=%2Fusage");
  await page.getByRole("link", { name: "Make an account" }).click();
  await s.heading("Make an account").waitFor();
  await page.getByLabel("Name").fill(person.name);
  await page.getByLabel("E-mail").fill(person.email);
  await page.getByLabel("Password").fill(person.password);
  await page.getByRole("button", { name: "Make the account" }).click();
  await s.heading("Usage").waitFor();
  const kept = (await s.browser.cookies()).filter((c) => c.name.includes("session_token"));
  assert.equal(kept.length, 1);
  assert(kept[0].httpOnly, "a script could read the session");
  const stored = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
  assert(!stored.includes(decodeURIComponent(kept[0].value).slice(0, 10)), "the session is in the browser's storage");
  s.note("signed up");
}

async function signedOut(s) {
  const { page, person, browser } = s;
  await s.goto("/tokens");
  await page.getByRole("row", { name: /browser test/ }).waitFor();
  // What the page asks for when the session ends is refused, then and at the end.
  s.tolerated = /401/;
  await browser.clearCookies();
  await s.call("POST", "/tokens", { name: "somebody else's", scope: "read" });
  await s.heading("Sign in").waitFor();
  assert.equal(new URL(page.url()).search, "?next=%2Ftokens");
  await page.getByLabel("E-mail").fill(person.email);
  await page.getByLabel("Password").fill("something else");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("The e-mail address or the password is not right.").waitFor();
  await page.getByLabel("Password").fill(person.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("row", { name: /somebody else's/ }).waitFor();
  await page.getByLabel("Account of Ada").click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await s.heading("Sign in").waitFor();
  assert.equal((await browser.cookies()).filter((c) => c.name.includes("session_token")).length, 0);
  s.note("came back after the session had ended, and signed out");
}

// noticesABrokenPolicy shows that this script would have seen one.
async function noticesABrokenPolicy(s) {
  // The violation is told after the request has failed.
  const violation = s.page.waitForEvent("console", (message) => message.text().startsWith("policy broken: connect-src"));
  await s.page.evaluate(() => fetch("http://outside.example/").catch(() => {}));
  await violation;
  assert(s.wrong.some((what) => what.startsWith("policy broken")), "what breaks the page's policy is not noticed");
  s.tolerated = /./;
  s.wrong.length = 0;
}
