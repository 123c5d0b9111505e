// Opens a deployed site and the API's reference in Chromium as a person would,
// and fails when something is not there, when the console shows an error, or when
// anything is asked of another machine.
//
//   node visit.mjs <chromium> <site URL> <API URL> <folder for screenshots>
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, site, api, shots] = process.argv.slice(2);
assert(shots, "usage: node visit.mjs <chromium> <site URL> <API URL> <folder for screenshots>");

const patience = 60_000;
const profile = await mkdtemp(join(tmpdir(), "slipway-chromium-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  serviceWorkers: "block", // their requests would pass by the watch below
  viewport: { width: 1280, height: 900 },
  args: [
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    // What the watch cannot see, such as a preconnect, finds no address.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1, EXCLUDE [::1]",
  ],
});
browser.setDefaultTimeout(patience);

try {
  await visit("site", site, clickCounter);
  await visit("site-narrow", site, fitsThePhone, { width: 390, height: 844 });
  await visit("docs", new URL("/docs", api).href, readReference);
  await visit("docs-narrow", new URL("/docs", api).href, fitsThePhone, { width: 390, height: 844 });
  await proveTheWatch();
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
}

// visit opens a page, lets look judge it, and holds it to a clean console and to this machine.
async function visit(name, url, look, viewport) {
  const page = await browser.newPage();
  if (viewport) await page.setViewportSize(viewport);
  const seen = await watch(page);
  const answer = await page.goto(url, { waitUntil: "load" });
  assert.equal(answer.status(), 200, `${name}: ${url}`);
  try {
    await page.waitForLoadState("networkidle");
    await look(page);
    await page.waitForLoadState("networkidle");
  } finally {
    await page.screenshot({ path: join(shots, `${name}.png`) });
  }
  assert.deepEqual(seen.outside, [], `${name}: asks other machines`);
  assert.deepEqual(seen.errors, [], `${name}: the console shows errors`);
  assert.deepEqual(seen.failed, [], `${name}: requests fail`);
  console.log(`${name}: ${url} is well, ${seen.asked} requests, all to this machine`);
  await page.close();
}

// watch records what a page asks for and complains about; requests to other machines are stopped.
async function watch(page) {
  const seen = { asked: 0, outside: [], errors: [], failed: [] };
  const note = (url) => {
    seen.asked++;
    if (!isOwn(url)) seen.outside.push(url);
    return isOwn(url);
  };
  await page.route("**/*", (route) => (note(route.request().url()) ? route.continue() : route.abort()));
  await page.routeWebSocket(/.*/, (socket) => {
    if (note(socket.url())) socket.connectToServer();
    else socket.close();
  });
  page.on("console", (message) => {
    if (message.type() === "error") seen.errors.push(message.text());
  });
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("response", (answer) => {
    if (answer.status() >= 400) seen.failed.push(`${answer.status()} ${answer.url()}`);
  });
  return seen;
}

function isOwn(address) {
  const { protocol, hostname } = new URL(address);
  if (["data:", "blob:", "about:"].includes(protocol)) return true;
  return hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "127.0.0.1" || hostname === "[::1]";
}

async function clickCounter(page) {
  await page.getByRole("heading", { level: 1 }).waitFor();
  const counter = page.getByRole("button", { name: /count is/i });
  await counter.filter({ hasText: /count is 0/i }).waitFor();
  await counter.click();
  await counter.click();
  await counter.filter({ hasText: /count is 2/i }).waitFor();
  for (const image of await page.locator("img").all()) {
    // It waits for the image, and is refused when there is none.
    await image.evaluate((img) => img.decode());
    assert(await image.evaluate((img) => img.complete && img.naturalWidth > 0), "an image did not load");
  }
}

async function fitsThePhone(page) {
  await page.locator("h1").first().waitFor();
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert(wider <= 0, `the page is ${wider} pixels wider than the screen`);
}

async function readReference(page) {
  await page.getByRole("heading", { name: /slipway/i }).first().waitFor();
  const operation = page.getByText("Deploy a project").first();
  await operation.waitFor();
  assert(await page.evaluate(() => document.querySelectorAll("script[src$='scalar.js']").length === 1), "this is the page without the program");
}

// proveTheWatch asks another machine for something and expects to have noticed.
async function proveTheWatch() {
  const page = await browser.newPage();
  const seen = await watch(page);
  await page.goto(site);
  // The console says it in its own time.
  const complaint = page.waitForEvent("console", (message) => message.type() === "error");
  await page.evaluate(() => fetch("http://outside.example/").catch(() => {}));
  await complaint;
  assert.deepEqual(seen.outside, ["http://outside.example/"], "a request to another machine was not noticed");
  assert(seen.errors.length > 0, "an error on the console was not noticed");
  await page.close();
}
