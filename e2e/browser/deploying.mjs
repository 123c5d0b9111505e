// Deployments as the dashboard shows them: by a dropped folder, going back, rollouts,
// builds that fail, what workers say, and dead letters.
import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { get } from "node:http";
import { dirname, join } from "node:path";
import { patience } from "./scene.mjs";

const markup = `<img src=x onerror="document.title='ran'">`;

export async function firstDeployment(s) {
  const { page } = s;
  await s.beside("Projects");
  await page.getByText("No projects yet").waitFor();
  const shop = await s.call("POST", "/projects", { name: "Shop", workerName: "panel-shop" });
  // It comes without being asked for.
  await page.getByRole("link", { name: "Shop", exact: true }).click();
  await page.getByText("Drop the project's folder here to put it live").waitFor();
  await s.shot("first");
  // It cannot end before it was seen to be under way.
  await control(s, "break");
  await dropFolder(page, await folderOf(s, "v1", site("one")));
  await s.heading(/Deployment #1/).waitFor();
  await page.locator(".step[data-state=in_progress]").first().waitFor();
  await control(s, "mend");
  await page.getByRole("log").getByText("built one").waitFor();
  await s.shot("deploying");
  await s.badge("Live").waitFor();
  await page.locator(".step[data-step=cleanup][data-state=completed]").waitFor();
  assert.deepEqual(await page.locator(".step").evaluateAll((steps) => steps.map((step) => step.dataset.state)), Array(6).fill("completed"));
  assert((await page.getByRole("log").innerText()).includes(markup), "the log does not show what was said");
  assert.equal(await page.locator(".log img").count(), 0, "the log has become markup");
  assert.notEqual(await page.title(), "ran");
  const [opened] = await Promise.all([page.context().waitForEvent("page"), page.getByRole("link", { name: "Open the site" }).click()]);
  await opened.getByRole("heading", { name: "Shop one" }).waitFor();
  assert.equal(await opened.evaluate(() => window.opener), null);
  await opened.close();
  s.shop = await s.call("GET", "/projects/" + shop.id);
  s.note("deployed a folder that was dropped");
}

export async function secondDeploymentAndBack(s) {
  const { page, shop } = s;
  await page.getByRole("link", { name: "← Shop" }).click();
  await page.locator("input[type=file]").setInputFiles(await folderOf(s, "v2", { "index.html": "<title>Shop</title><h1>Shop two</h1>" }));
  await s.heading(/Deployment #2/).waitFor();
  await s.badge("Live").waitFor();
  await answers(shop, "Shop two");
  await page.getByRole("link", { name: "← Shop" }).click();
  await page.locator(".bars .bar").nth(1).waitFor();
  await s.shot("project");
  await s.tab("Releases");
  await page.getByRole("button", { name: "Put release #1 live" }).click();
  await s.confirm("Put it live");
  await page.getByRole("row", { name: /#1.*Live/ }).waitFor();
  await page.getByRole("button", { name: "Put release #2 live" }).waitFor();
  await answers(shop, "Shop one");
  // What somebody else does is seen as well.
  const { items } = await s.call("GET", `/projects/${shop.id}/releases`);
  await s.call("POST", `/projects/${shop.id}/rollback`, { releaseId: items[0].id });
  await page.getByRole("row", { name: /#2.*Live/ }).waitFor();
  await s.call("POST", `/projects/${shop.id}/rollback`, { releaseId: items[1].id });
  await page.getByRole("row", { name: /#1.*Live/ }).waitFor();
  s.note("went back to an earlier release");
}

export async function rollout(s) {
  const { page, shop } = s;
  const { items } = await s.call("GET", `/projects/${shop.id}/releases`);
  await s.call("POST", `/projects/${shop.id}/rollouts`, { releaseId: items[0].id, steps: [10, 100], every: "1h" });
  await page.getByText("10 % of visitors").waitFor();
  await s.shot("rollout");
  await page.getByLabel("Rollout under way").getByRole("button", { name: "Cancel" }).click();
  await s.confirm("Cancel the rollout");
  await page.getByRole("row", { name: /canceled/i }).waitFor();
  await page.getByText("10 % of visitors").waitFor({ state: "hidden" });
  s.note("watched a rollout and canceled it");
}

export async function failingBuild(s) {
  const { page } = s;
  s.broken = await s.call("POST", "/projects", { name: "Broken <b>course</b>", workerName: "panel-broken" });
  await s.beside("Projects");
  await page.getByRole("link", { name: "Broken <b>course</b>" }).click();
  await page.getByText("Drop the project's folder here to put it live").waitFor();
  await dropFolder(page, await folderOf(s, "broken", { ...site("x"), "build.js": `console.log("begins"); require("left-pad");` }));
  const failure = page.getByLabel("What went wrong");
  await failure.getByText("The build failed").waitFor();
  assert.match(await failure.locator(".advice").innerText(), /"left-pad" cannot be found/);
  assert.match(await failure.innerText(), /npm run build[\s\S]*Exit code[\s\S]*1[\s\S]*Cannot find module 'left-pad'/);
  await page.locator(".step[data-step=build][data-state=failed]").waitFor();
  await s.badge("Failed").waitFor();
  await s.shot("failed-build");
  s.note("saw why a build failed");
}

export async function workerLog(s) {
  const { page } = s;
  const project = await s.call("POST", "/projects", { name: "Talker", workerName: "panel-talker" });
  const { deploymentId } = await s.deploy(project, {
    "wrangler.json": JSON.stringify({ name: "talker", main: "index.js", compatibility_date: "2025-01-01" }),
    "index.js": `export default { fetch(request) { console.log("asked for", new URL(request.url).pathname); return new Response("hi"); } }`,
  });
  await s.goto("/deployments/" + deploymentId);
  await s.badge("Live").waitFor();
  await page.getByRole("link", { name: "← Talker" }).click();
  await s.tab("Logs");
  assert.equal(await visit(project.url + "over/here"), "hi");
  await page.getByRole("log").getByText("asked for /over/here").waitFor();
  s.note("followed what a worker says");
}

export async function deadLetters(s) {
  const { page, shop } = s;
  await s.beside("Usage");
  const used = async () => Number(await page.locator("[data-resource=deployments] strong").innerText());
  const before = await used();
  await control(s, "break");
  const { deploymentId } = await s.deploy(shop, { "index.html": "<h1>Shop three</h1>" });
  await page.locator("[data-resource=deployments] strong", { hasText: String(before + 1) }).waitFor();
  await s.beside("Dead letters");
  // Nor is it while the storage only keeps it waiting.
  await page.getByText("Nothing is parked").waitFor();
  await control(s, "fail");
  const row = page.locator(`[data-deployment=${deploymentId}]`);
  await row.waitFor({ timeout: patience });
  await s.shot("dead-letters");
  await control(s, "mend");
  await row.getByRole("button", { name: "Retry" }).click();
  await row.waitFor({ state: "detached" });
  await page.getByText("Nothing is parked").waitFor();
  await answers(shop, "Shop three");
  s.note("retried a dead letter");
}

// control changes how the storage behaves.
async function control(s, how) {
  const answer = await fetch(`${s.control}/${how}`, { method: "POST" });
  assert(answer.ok, `${how}: ${answer.status}`);
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

async function folderOf(s, name, files) {
  for (const [path, content] of Object.entries(files)) {
    const at = join(s.work, name, path);
    await mkdir(dirname(at), { recursive: true });
    await writeFile(at, content);
  }
  return join(s.work, name);
}

// dropFolder drags a folder of the machine over the page and lets go of it.
async function dropFolder(page, folder) {
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

async function answers(project, text) {
  for (const until = Date.now() + patience; ; await new Promise((soon) => setTimeout(soon, 50))) {
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
