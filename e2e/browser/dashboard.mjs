// Uses the dashboard in Chromium as a person would, from signing up to going back to
// an earlier release, and has every panel show what is done through the API without
// being loaded again. It fails as well when the console shows an error, the page's
// policy is broken, or anything is asked of another machine.
//
//   node dashboard.mjs <chromium> <API URL> <control URL> <folder of mails> <work folder> <folder for screenshots>
//
// POST <control URL>/break has the storage fail after the next build, /mend ends that.
import assert from "node:assert/strict";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { dirname, join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, apiURL, control, mails, work, shots] = process.argv.slice(2);
assert(shots, "usage: node dashboard.mjs <chromium> <API URL> <control URL> <folder of mails> <work folder> <folder for screenshots>");

const origin = new URL(apiURL).origin;
const machine = await chromium.launch({
  executablePath,
  headless: true,
  args: ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1"],
});
const browser = await someone();

const wrong = [];
// What is expected to go wrong while something is tried on purpose.
let tolerated = /^$/;
const person = { name: "Ada", email: "ada@example.com", password: "correct horse battery" };
let page, token, me;

const markup = `<img src=x onerror="document.title='ran'">`;

const began = Date.now();

try {
  page = await watched(await browser.newPage());
  await signUp();
  await makeToken();
  const shop = await firstDeployment();
  await secondDeploymentAndBack(shop);
  await rollout(shop);
  const broken = await failingBuild();
  await panels(shop, broken);
  await workerLog();
  await deadLetters(shop);
  await device();
  await members();
  await keyboard();
  await offline();
  await everythingFits(shop);
  await signedOut();
  assert.deepEqual(wrong, [], "something is wrong");
  // The violation is told after the request has failed.
  const violation = page.waitForEvent("console", (message) => message.text().startsWith("policy broken: connect-src"));
  await page.evaluate(() => fetch("http://outside.example/").catch(() => {}));
  await violation;
  assert(wrong.length > 0, "what breaks the page's policy is not noticed");
} catch (error) {
  await page?.screenshot({ path: join(shots, "dashboard-failed.png") }).catch(() => {});
  console.log("At", page?.url(), "\n", wrong.join("\n"));
  throw error;
} finally {
  await machine.close();
}

// someone is a browser with cookies of its own.
async function someone() {
  const context = await machine.newContext({ serviceWorkers: "block", viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(90_000);
  return context;
}

function note(what) {
  console.log(`${((Date.now() - began) / 1000).toFixed(1)} s  ${what}`);
}

// watched collects what a page must not do.
async function watched(p) {
  const report = (text) => tolerated.test(text) || wrong.push(text);
  p.on("console", (m) => m.type() === "error" && report(m.text()));
  p.on("pageerror", (error) => report(String(error)));
  p.on("request", (r) => {
    const url = new URL(r.url());
    if (url.origin !== origin && !["data:", "blob:"].includes(url.protocol)) wrong.push(`asks ${r.url()}`);
    if (/slp_|sli_|token=/.test(url.href) && !r.isNavigationRequest()) wrong.push(`a secret in ${r.url()}`);
  });
  p.on("response", (r) => r.status() >= 400 && report(`${r.status()} ${r.request().method()} ${r.url()}`));
  await p.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (e) => console.error("policy broken:", e.violatedDirective, e.blockedURI));
  });
  return p;
}

// call uses the API as a program would.
async function call(method, path, body, as = token) {
  const answer = await fetch(apiURL + path, {
    method,
    headers: { ...(as ? { Authorization: `Bearer ${as}` } : {}), ...(body ? { "Content-Type": "application/json" } : {}) },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  assert(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : undefined;
}

function deploy(project, files) {
  const initFiles = Object.entries(files).map(([path, content]) => ({ path, content }));
  return call("POST", "/deploy", { projectId: project.id, orgId: project.orgId, userId: me.user.id, initFiles });
}

function heading(name) {
  return page.getByRole("heading", { name, level: 1 });
}

function badge(text) {
  return page.locator("h1 .badge", { hasText: text });
}

// goTo follows a link beside the page, tab one of a project.
function goTo(name) {
  return page.getByRole("navigation", { name: "Organization" }).getByRole("link", { name }).click();
}

function tab(name) {
  return page.getByRole("navigation", { name: "Project" }).getByRole("link", { name }).click();
}

function confirm(name) {
  return page.getByRole("dialog").getByRole("button", { name }).click();
}

async function signUp() {
  await page.goto(origin + "/app/usage");
  await heading("Sign in").waitFor();
  assert.equal(new URL(page.url()).search, "?next=%2Fusage");
  await page.screenshot({ path: join(shots, "dashboard-sign-in.png") });
  await page.getByRole("link", { name: "Make an account" }).click();
  await heading("Make an account").waitFor();
  await page.getByLabel("Name").fill(person.name);
  await page.getByLabel("E-mail").fill(person.email);
  await page.getByLabel("Password").fill(person.password);
  await page.getByRole("button", { name: "Make the account" }).click();
  await heading("Usage").waitFor();
  const kept = (await browser.cookies()).filter((c) => c.name.includes("session_token"));
  assert.equal(kept.length, 1);
  assert(kept[0].httpOnly, "a script could read the session");
  const stored = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
  assert(!stored.includes(decodeURIComponent(kept[0].value).slice(0, 10)), "the session is in the browser's storage");
  note("signed up");
}

async function makeToken() {
  await goTo("API tokens");
  await page.getByRole("button", { name: "New token" }).click();
  await page.getByLabel("What it is for").fill("browser test");
  await page.getByLabel("It may").selectOption("admin");
  await confirm("Make the token");
  token = (await page.locator(".secret code").innerText()).trim();
  assert.match(token, /^slp_/);
  await confirm("Done");
  await page.getByRole("row", { name: /browser test/ }).waitFor();
  me = await call("GET", "/me");
  assert(!(await page.content()).includes(token), "the token is still in the page");
}

// site is a project whose build says what a log must not turn into markup.
function site(version) {
  return {
    "package.json": JSON.stringify({ name: "shop", private: true, scripts: { build: "node build.js" } }),
    "package-lock.json": JSON.stringify({ name: "shop", lockfileVersion: 3, requires: true, packages: { "": { name: "shop" } } }),
    "build.js": `const fs = require("fs"); fs.mkdirSync("dist"); fs.writeFileSync("dist/index.html", "<title>Shop</title><h1>Shop ${version}</h1>"); console.log("built ${version} ${markup.replaceAll('"', '\\"')}");`,
    ".gitignore": "secret.txt\n",
    "secret.txt": "stays behind",
    "node_modules/left/index.js": "stays behind",
  };
}

async function folderOf(name, files) {
  for (const [path, content] of Object.entries(files)) {
    const at = join(work, name, path);
    await mkdir(dirname(at), { recursive: true });
    await writeFile(at, content);
  }
  return join(work, name);
}

// dropFolder drags a folder of the machine over the page and lets go of it.
async function dropFolder(folder) {
  await page.locator(".drop").waitFor();
  await page.waitForFunction(() => !document.querySelector(".loading"));
  // What is still being loaded moves it.
  let box;
  for (let before; !box || JSON.stringify(box) !== JSON.stringify(before); ) {
    before = box;
    await page.evaluate(() => new Promise((done) => setTimeout(done, 100)));
    box = await page.locator(".drop").boundingBox();
  }
  const at = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  const devtools = await page.context().newCDPSession(page);
  const data = { items: [], files: [folder], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) await devtools.send("Input.dispatchDragEvent", { type, ...at, data });
  await devtools.detach();
}

async function firstDeployment() {
  await goTo("Projects");
  await page.getByText("No projects yet").waitFor();
  const shop = await call("POST", "/projects", { name: "Shop", workerName: "panel-shop" });
  // It comes without being asked for.
  await page.getByRole("link", { name: "Shop", exact: true }).click();
  await page.getByText("Drop the project's folder here to put it live").waitFor();
  await page.screenshot({ path: join(shots, "dashboard-first.png") });
  await dropFolder(await folderOf("v1", site("one")));
  await heading(/Deployment #1/).waitFor();
  await page.locator(".step[data-state=in_progress]").first().waitFor();
  await page.getByRole("log").getByText("built one").waitFor();
  await page.screenshot({ path: join(shots, "dashboard-deploying.png") });
  await badge("Live").waitFor();
  await page.locator(".step[data-step=cleanup][data-state=completed]").waitFor();
  assert.deepEqual(await page.locator(".step").evaluateAll((steps) => steps.map((s) => s.dataset.state)), Array(6).fill("completed"));
  assert((await page.getByRole("log").innerText()).includes(markup), "the log does not show what was said");
  assert.equal(await page.locator(".log img").count(), 0, "the log has become markup");
  assert.notEqual(await page.title(), "ran");
  const [opened] = await Promise.all([page.context().waitForEvent("page"), page.getByRole("link", { name: "Open the site" }).click()]);
  await opened.getByRole("heading", { name: "Shop one" }).waitFor();
  assert.equal(await opened.evaluate(() => window.opener), null);
  await opened.close();
  note("deployed a folder that was dropped");
  return call("GET", "/projects/" + shop.id);
}

async function secondDeploymentAndBack(shop) {
  await page.getByRole("link", { name: "← Shop" }).click();
  await page.locator("input[type=file]").setInputFiles(await folderOf("v2", { "index.html": "<title>Shop</title><h1>Shop two</h1>" }));
  await heading(/Deployment #2/).waitFor();
  await badge("Live").waitFor();
  await answers(shop, "Shop two");
  await page.getByRole("link", { name: "← Shop" }).click();
  await page.locator(".history rect.bar").nth(1).waitFor();
  await page.screenshot({ path: join(shots, "dashboard-project.png") });
  await tab("Releases");
  await page.getByRole("button", { name: "Put release #1 live" }).click();
  await confirm("Put it live");
  await page.getByRole("row", { name: /#1.*Live/ }).waitFor();
  await page.getByRole("button", { name: "Put release #2 live" }).waitFor();
  await answers(shop, "Shop one");
  // What somebody else does is seen as well.
  const { items } = await call("GET", `/projects/${shop.id}/releases`);
  await call("POST", `/projects/${shop.id}/rollback`, { releaseId: items[0].id });
  await page.getByRole("row", { name: /#2.*Live/ }).waitFor();
  await call("POST", `/projects/${shop.id}/rollback`, { releaseId: items[1].id });
  await page.getByRole("row", { name: /#1.*Live/ }).waitFor();
  note("went back to an earlier release");
}

async function answers(project, text) {
  const until = Date.now() + 10_000;
  for (;;) {
    const said = await visit(project.url);
    if (said.includes(text)) return;
    assert(Date.now() < until, `${project.url} says ${said}`);
  }
}

// visit reads a page of a worker's host, which only browsers look for on this machine.
function visit(address) {
  const { port, pathname, host } = new URL(address);
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, path: pathname, headers: { Host: host } }, async (answer) => resolve((await answer.toArray()).join(""))).on("error", reject);
  });
}

async function rollout(shop) {
  const { items } = await call("GET", `/projects/${shop.id}/releases`);
  await call("POST", `/projects/${shop.id}/rollouts`, { releaseId: items[0].id, steps: [10, 100], every: "1h" });
  await page.getByText("10 % of visitors").waitFor();
  await page.screenshot({ path: join(shots, "dashboard-rollout.png") });
  await page.getByLabel("Rollout under way").getByRole("button", { name: "Cancel" }).click();
  await confirm("Cancel the rollout");
  await page.getByRole("row", { name: /canceled/ }).waitFor();
  await page.getByText("10 % of visitors").waitFor({ state: "hidden" });
  note("watched a rollout and canceled it");
}

async function failingBuild() {
  const project = await call("POST", "/projects", { name: "Broken <b>course</b>", workerName: "panel-broken" });
  await goTo("Projects");
  await page.getByRole("link", { name: "Broken <b>course</b>" }).click();
  await page.getByText("Drop the project's folder here to put it live").waitFor();
  await dropFolder(await folderOf("broken", { ...site("x"), "build.js": `console.log("begins"); require("left-pad");` }));
  const failure = page.getByLabel("What went wrong");
  await failure.getByText("The build failed").waitFor();
  assert.match(await failure.locator(".advice").innerText(), /"left-pad" cannot be found/);
  assert.match(await failure.innerText(), /npm run build[\s\S]*Exit code[\s\S]*1[\s\S]*Cannot find module 'left-pad'/);
  await page.locator(".step[data-step=build][data-state=failed]").waitFor();
  await badge("Failed").waitFor();
  await page.screenshot({ path: join(shots, "dashboard-failed-build.png") });
  note("saw why a build failed");
  return project;
}

// panels are those that a look is enough for.
async function panels(shop, broken) {
  await goTo("Projects");
  await page.getByRole("link", { name: "Broken" }).waitFor();
  await call("DELETE", `/projects/${broken.id}?confirm=panel-broken`);
  await page.getByRole("link", { name: "Broken" }).waitFor({ state: "detached" });
  await page.getByRole("link", { name: "Shop", exact: true }).click();

  await tab("Domains");
  await page.getByText("No domains yet").waitFor();
  await call("POST", `/projects/${shop.id}/domains`, { host: "shop.example.com" });
  const card = page.locator("[data-domain='shop.example.com']");
  await card.getByText("_slipway-challenge.shop.example.com", { exact: true }).waitFor();
  await card.getByRole("cell", { name: "CNAME", exact: true }).waitFor();
  await call("DELETE", `/projects/${shop.id}/domains/shop.example.com`);
  await card.waitFor({ state: "detached" });

  await tab("Variables");
  await page.getByText("None yet").waitFor();
  await call("PATCH", `/projects/${shop.id}/variables`, { set: [{ name: "GREETING", value: "hello" }, { name: "KEY", value: "hidden", secret: true }], deploy: false });
  await page.getByRole("row", { name: /GREETING.*hello/ }).waitFor();
  assert(!(await page.content()).includes("hidden<"), "a secret is shown");

  await tab("Settings");
  await call("PATCH", "/projects/" + shop.id, { name: "Bookshop" });
  await heading("Bookshop").waitFor();

  await goTo("API tokens");
  const made = await call("POST", "/tokens", { name: "short-lived", scope: "read" });
  await page.getByRole("button", { name: "Revoke short-lived" }).click();
  await confirm("Revoke it");
  await page.getByRole("row", { name: /short-lived/ }).waitFor({ state: "detached" });
  assert.equal((await fetch(apiURL + "/me", { headers: { Authorization: "Bearer " + made.token } })).status, 401);

  await goTo("Webhooks");
  await page.getByText("No webhooks yet").waitFor();
  const hook = await call("POST", "/webhooks", { url: "https://hooks.example.com/slipway?key=hidden", events: ["deployment.*"] });
  await page.getByRole("link", { name: /hooks\.example\.com/ }).click();
  await page.getByText("Nothing has happened yet").waitFor();
  await call("POST", `/webhooks/${hook.id}/test`);
  await page.getByRole("row", { name: /ping/ }).waitFor();
  await call("PATCH", `/webhooks/${hook.id}`, { enabled: false });
  await badge("Off").waitFor();

  await goTo("Audit log");
  await page.getByRole("row", { name: /change-webhook.*Ada/ }).waitFor();
  await call("POST", "/projects", { name: "Audited", workerName: "panel-audited" });
  await page.getByRole("row", { name: /create-project.*Ada/ }).first().waitFor();
  note("looked at domains, variables, settings, tokens, webhooks and the audit log");
}

async function workerLog() {
  const project = await call("POST", "/projects", { name: "Talker", workerName: "panel-talker" });
  const { deploymentId } = await deploy(project, {
    "wrangler.json": JSON.stringify({ name: "talker", main: "index.js", compatibility_date: "2025-01-01" }),
    "index.js": `export default { fetch(request) { console.log("asked for", new URL(request.url).pathname); return new Response("hi"); } }`,
  });
  await page.goto(origin + "/app/deployments/" + deploymentId);
  await badge("Live").waitFor();
  await page.getByRole("link", { name: "← Talker" }).click();
  await tab("Logs");
  assert.equal(await visit(project.url + "over/here"), "hi");
  await page.getByRole("log").getByText("asked for /over/here").waitFor();
  note("followed what a worker says");
}

async function deadLetters(shop) {
  await goTo("Usage");
  const used = async () => Number(await page.locator("[data-resource=deployments] strong").innerText());
  const before = await used();
  await fetch(control + "/break", { method: "POST" });
  const { deploymentId } = await deploy(shop, { "index.html": "<h1>Shop three</h1>" });
  await page.locator("[data-resource=deployments] strong", { hasText: String(before + 1) }).waitFor();
  await goTo("Dead letters");
  await page.getByText("Nothing is parked").waitFor();
  const row = page.locator(`[data-deployment=${deploymentId}]`);
  await row.waitFor({ timeout: 90_000 });
  await page.screenshot({ path: join(shots, "dashboard-dead-letters.png") });
  await fetch(control + "/mend", { method: "POST" });
  await row.getByRole("button", { name: "Retry" }).click();
  await row.waitFor({ state: "detached" });
  await page.getByText("Nothing is parked").waitFor();
  await answers(shop, "Shop three");
  note("retried a dead letter");
}

async function device() {
  const code = await call("POST", "/device/code", { clientName: "laptop" }, null);
  await page.goto(origin + "/app/device?code=" + code.userCode);
  await page.getByText("laptop").waitFor();
  assert.equal(await page.locator(".device-code").innerText(), code.userCode);
  await page.getByRole("button", { name: "Sign the device in" }).click();
  await page.getByText("The device is signed in").waitFor();
  const given = await call("POST", "/device/token", { deviceCode: code.deviceCode }, null);
  assert.equal((await call("GET", "/me", undefined, given.token)).user.email, person.email);
  note("signed a device in");
}

async function members() {
  await page.goto(origin + "/app/members");
  await page.getByRole("row", { name: /Ada/ }).waitFor();
  await call("POST", `/orgs/${me.organization.id}/invitations`, { email: "grace@example.com", role: "developer" });
  await page.getByRole("row", { name: /grace@example\.com.*developer/ }).waitFor();

  const link = await linkTo("grace@example.com", /\/app\/invitation\?token=[\w%-]+/);
  const elsewhere = await someone();
  const other = await watched(await elsewhere.newPage());
  await other.goto(origin + "/app/sign-up?next=" + encodeURIComponent(link.slice("/app".length)));
  await other.getByLabel("Name").fill("Grace");
  await other.getByLabel("E-mail").fill("grace@example.com");
  await other.getByLabel("Password").fill(person.password);
  await other.getByRole("button", { name: "Make the account" }).click();
  await other.getByRole("button", { name: "Accept the invitation" }).click();
  await other.getByRole("heading", { name: "Projects" }).waitFor();
  assert(!other.url().includes("token"), "the invitation's secret stays in the address");
  await other.getByRole("link", { name: "Bookshop" }).waitFor();
  await elsewhere.close();
  await page.getByRole("row", { name: /Grace grace@example\.com/ }).waitFor();
  note("invited somebody, who joined");
}

// linkTo finds a link in a mail to somebody.
async function linkTo(address, pattern) {
  for (const until = Date.now() + 10_000; Date.now() < until; ) {
    for (const name of (await readdir(mails).catch(() => [])).sort().reverse()) {
      const mail = (await readFile(join(mails, name), "utf8")).replace(/=\r?\n/g, "").replaceAll("=3D", "=");
      const found = mail.includes(address) && pattern.exec(mail);
      if (found) return found[0];
    }
  }
  throw new Error(`no mail to ${address} has a link`);
}

async function keyboard() {
  await page.goto(origin + "/app");
  await page.getByRole("link", { name: "Bookshop" }).waitFor();
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.type), "search");
  await page.keyboard.type("book");
  assert.equal(await page.locator(".project-card").count(), 1);
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await heading("Bookshop").waitFor();
  await page.evaluate(() => document.activeElement.blur());
  note("went by the keyboard");
}

async function offline() {
  await tab("Variables");
  await page.getByRole("row", { name: /GREETING/ }).waitFor();
  tolerated = /ERR_INTERNET_DISCONNECTED|Failed to fetch|network error/i;
  await browser.setOffline(true);
  // A connection that is open already stays so in this kind of offline.
  const { items } = await call("GET", "/projects?limit=100");
  const project = items.find((p) => p.workerName === "panel-shop");
  await call("PATCH", `/projects/${project.id}/variables`, { set: [{ name: "LATE", value: "seen" }], deploy: false });
  await page.getByText("Slipway cannot be reached").first().waitFor();
  await browser.setOffline(false);
  await page.getByRole("alert").getByRole("button", { name: "Try again" }).click();
  await page.getByRole("row", { name: /LATE.*seen/ }).waitFor();
  tolerated = /^$/;
  note("went on after a lost connection");
}

// everythingFits looks at every page in the dark, on a phone, and for what is wider than it.
async function everythingFits(shop) {
  const { items } = await call("GET", "/deployments?limit=100");
  const failed = items.find((d) => d.outcome === "succeeded");
  const paths = ["", `/projects/${shop.id}`, ...["deployments", "releases", "domains", "variables", "logs", "settings"].map((v) => `/projects/${shop.id}/${v}`),
    `/deployments/${failed.id}`, "/dead-letters", "/usage", "/members", "/tokens", "/webhooks", "/audit", "/account", "/device", "/nothing"];
  await page.setViewportSize({ width: 360, height: 740 });
  await page.emulateMedia({ colorScheme: "dark", reducedMotion: "reduce" });
  for (const path of paths) {
    await page.goto(origin + "/app" + path);
    await page.locator("main h1").waitFor();
    await page.waitForFunction(() => !document.querySelector(".loading"));
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert(wider <= 0, `${path} is ${wider} pixels wider than a phone`);
    const unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input, select, textarea, a")].filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length || e.getAttribute("aria-hidden"))).map((e) => e.outerHTML.slice(0, 120)));
    assert.deepEqual(unnamed, [], `${path} has controls without a name`);
    await page.screenshot({ path: join(shots, `phone${path.replace(/[a-z]+_[a-z2-7]{26}/, "id").replaceAll("/", "-")}.png`) });
  }
  // Whoever has left is told by an id.
  await page.route("**/members?*", (route) => route.fulfill({ json: { items: [] } }));
  await page.goto(origin + "/app/audit");
  await page.locator("code.id").first().waitFor();
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert(wider <= 0, `the audit log is ${wider} pixels wider than a phone without names`);
  await page.screenshot({ path: join(shots, "phone-audit-ids.png") });
  await page.unroute("**/members?*");
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "no-preference" });
  note("fits a phone");
}

async function signedOut() {
  await page.goto(origin + "/app/tokens");
  await page.getByRole("row", { name: /browser test/ }).waitFor();
  tolerated = /401/;
  await browser.clearCookies();
  // The next thing that the page asks for is refused.
  await call("POST", "/tokens", { name: "somebody else's", scope: "read" });
  await heading("Sign in").waitFor();
  assert.equal(new URL(page.url()).search, "?next=%2Ftokens");
  await page.getByLabel("E-mail").fill(person.email);
  await page.getByLabel("Password").fill("something else");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("The e-mail address or the password is not right.").waitFor();
  await page.getByLabel("Password").fill(person.password);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("row", { name: /somebody else's/ }).waitFor();
  // What is still being loaded when the session ends is refused.
  await page.getByLabel("Account of Ada").click();
  await page.getByRole("button", { name: "Sign out" }).click();
  await heading("Sign in").waitFor();
  assert.equal((await browser.cookies()).filter((c) => c.name.includes("session_token")).length, 0);
  note("came back after the session had ended, and signed out");
}
