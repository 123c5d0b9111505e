// Opens hostile pages on the dispatcher's own host in Chromium, where somebody
// has a session, and fails unless they can do nothing with it: their scripts do
// not run, what such a script would try fails, and no request of theirs carries a
// cookie. The same worker at its own host, which is its own, may do all of it.
//
//   node sandbox.mjs <chromium> <own URL> <worker's URL> <path of a hostile page>...
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, own, home, ...hostile] = process.argv.slice(2);
assert(hostile.length > 0, "usage: node sandbox.mjs <chromium> <own URL> <worker's URL> <path of a hostile page>...");

const profile = await mkdtemp(join(tmpdir(), "slipway-chromium-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  args: ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost"],
});
browser.setDefaultTimeout(60_000);

// What somebody is signed in with. A script could read the first one.
const session = ["session", "strict"];

try {
  await browser.addCookies([
    { name: "session", value: "secret", url: own, sameSite: "Lax" },
    { name: "strict", value: "secret", url: own, sameSite: "Strict", httpOnly: true },
  ]);
  await theSessionWorks();
  for (const path of hostile) await getsNothing(new URL(path, own).href);
  await isItselfAtHome();
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
}

// theSessionWorks shows on a page of the host's own that what is looked for below
// would be seen if it were there.
async function theSessionWorks() {
  const page = await browser.newPage();
  const asked = watch(page);
  await page.goto(new URL("/health", own).href);
  await page.evaluate(() => document.body.append(document.createElement("iframe")));
  const tried = await page.evaluate(attack);
  assert.equal(tried.origin, new URL(own).origin);
  assert.match(tried.cookie, /session=secret/);
  for (const name of ["storage", "database", "serviceWorker", "frame"]) assert.equal(tried[name], "worked", name);
  for (const { path, cookies } of await requestsOf(page, asked, 3)) assert.deepEqual(cookies, session, `the browser sends the session to ${path}`);
  await page.evaluate(() => localStorage.clear());
  await page.close();
}

async function getsNothing(address) {
  const page = await browser.newPage();
  const asked = watch(page);
  const answer = await page.goto(address, { waitUntil: "load" });
  assert.equal(answer.status(), 200, address);
  assert.equal(await page.locator("h1").innerText(), "hostile", address);
  assert.equal(await page.title(), "waiting", `${address}: its script ran`);
  const seen = page.locator("#seen");
  if (await seen.count()) assert.equal(await seen.innerText(), "no cookie", `${address}: the worker saw the session`);

  // A debugger can run what the page cannot, with no more rights than the page.
  const tried = await page.evaluate(attack);
  assert.equal(tried.origin, "null", address);
  for (const [name, outcome] of Object.entries(tried)) {
    if (name !== "origin") assert.match(outcome, /^refused/, `${address}: ${name}`);
  }
  // The visit, the image, the frame, and the two that a script would have sent.
  const requests = await requestsOf(page, asked, 5);
  for (const [i, { path, cookies }] of requests.entries()) {
    // The first is the visit itself: the browser sends the cookies of the host,
    // and the dispatcher keeps them from the worker.
    if (i > 0) assert.deepEqual(cookies, [], `${address}: its request for ${path} acts with the session`);
  }
  assert.equal(page.url(), address, "it has taken the visitor elsewhere");
  const kept = await browser.cookies(own);
  assert.deepEqual(kept.map(({ name, value }) => [name, value]).sort(), [["session", "secret"], ["strict", "secret"]], `${address}: it has set a cookie`);
  console.log(`${address} gets nothing, in ${requests.length} requests`);
  await page.close();
}

// isItselfAtHome is the same page where nobody else's things are.
async function isItselfAtHome() {
  const page = await browser.newPage();
  await page.goto(home, { waitUntil: "load" });
  assert.equal(await page.title(), "ran", "its script runs");
  await page.reload({ waitUntil: "load" });
  assert.equal(await page.locator("#seen").innerText(), "planted=1", "its own cookie, and no other, comes back");
  assert.equal(await page.evaluate(() => self.origin), new URL(home).origin);
  const tried = await page.evaluate(attack);
  assert.match(tried.cookie, /planted=1/);
  assert.doesNotMatch(tried.cookie, /session/);
  assert.equal(tried.storage, "worked");
  await page.close();
}

// watch collects the requests a page makes.
function watch(page) {
  const asked = [];
  page.on("request", (request) => asked.push(request));
  return asked;
}

// requestsOf waits for so many requests and says with which of the session's
// cookies each was sent.
async function requestsOf(page, asked, least) {
  for (const until = Date.now() + 60_000; asked.length < least && Date.now() < until; ) await page.waitForEvent("request", { timeout: 1_000 }).catch(() => {});
  assert(asked.length >= least, `only ${asked.map((request) => request.url())} were asked for`);
  return Promise.all(asked.map(async (request) => {
    const { cookie = "" } = await request.allHeaders();
    return { path: new URL(request.url()).pathname, cookies: session.filter((name) => cookie.includes(`${name}=`)) };
  }));
}

// attack tries what a page could do with a session, in the page. It waits for
// nothing, since nothing that takes time ends where scripts are off.
function attack() {
  const attempt = (what) => {
    try {
      return String(what() || "refused: nothing came");
    } catch (error) {
      return `refused: ${error.name}`;
    }
  };
  const unheard = (answer) => void answer.catch(() => {});
  unheard(fetch("/health", { credentials: "include" }));
  unheard(fetch("/health", { method: "POST", mode: "no-cors", credentials: "include" }));
  return {
    origin: self.origin,
    cookie: attempt(() => document.cookie),
    plant: attempt(() => {
      document.cookie = "planted=by-script; path=/";
      const planted = document.cookie.includes("planted=by-script");
      document.cookie = "planted=by-script; path=/; max-age=0";
      return planted && "worked";
    }),
    storage: attempt(() => {
      localStorage.setItem("planted", "1");
      return "worked";
    }),
    database: attempt(() => indexedDB.open("planted") && "worked"),
    serviceWorker: attempt(() => navigator.serviceWorker.register && "worked"),
    frame: attempt(() => document.querySelector("iframe").contentDocument.body && "worked"),
    window: attempt(() => open("/health") && "worked"),
  };
}
