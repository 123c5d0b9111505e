// Opens pages that were rendered on a server in Chromium and fails unless each
// comes alive: its button counts, and nothing fails or complains on the way.
//
//   node alive.mjs <chromium> <URL>...
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const [executablePath, ...addresses] = process.argv.slice(2);
assert(addresses.length > 0, "usage: node alive.mjs <chromium> <URL>...");

const patience = 60_000;
const profile = await mkdtemp(join(tmpdir(), "slipway-chromium-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath,
  headless: true,
  args: ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost"],
});
browser.setDefaultTimeout(patience);

try {
  for (const address of addresses) await comesAlive(address);
} finally {
  await browser.close();
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
}

async function comesAlive(address) {
  const page = await browser.newPage();
  const wrong = [];
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("response", (answer) => answer.status() >= 400 && wrong.push(`${answer.status()} ${answer.url()}`));
  const answer = await page.goto(address, { waitUntil: "networkidle" });
  assert.equal(answer.status(), 200, address);

  await page.locator("#count:enabled").waitFor();
  const output = page.locator("#count output");
  const before = Number(await output.innerText());
  assert(Number.isInteger(before), `${address}: the button has no number`);
  const after = await clickUntilItCounts(page, output, before);
  assert.deepEqual(wrong, [], `${address}: something is wrong`);
  console.log(`${address} is alive: ${before} became ${after}`);
  await page.close();
}

// clickUntilItCounts clicks as people do: what was rendered on a server can be clicked
// before its program runs, and such a click is lost.
async function clickUntilItCounts(page, output, before) {
  for (const until = Date.now() + patience; Date.now() < until; ) {
    await page.locator("#count").click();
    for (const answer = Date.now() + 2_000; Date.now() < answer; await new Promise((soon) => setTimeout(soon, 50))) {
      const now = Number(await output.innerText());
      if (now > before) return now;
    }
  }
  throw new Error(`${page.url()}: the button does not count`);
}
