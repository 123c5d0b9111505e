// Whether everybody can use the pages: by the keyboard, on a phone, in the dark, without
// a connection, and with eyes that need contrast.
import assert from "node:assert/strict";
import { tooFaint } from "./contrast.mjs";

export async function keyboard(s) {
  const { page } = s;
  await s.goto("");
  await page.getByRole("link", { name: "Bookshop" }).waitFor();
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.type), "search");
  await page.keyboard.type("book");
  await page.getByText("1 project found").waitFor();
  assert.equal(await page.locator(".project-card").count(), 1);
  await page.keyboard.press("Escape");
  await page.keyboard.press("?");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.keyboard.press("j");
  await page.keyboard.press("Enter");
  await s.heading("Bookshop").waitFor();
  await page.evaluate(() => document.activeElement.blur());
  s.note("went by the keyboard");
}

export async function offline(s) {
  const { page, browser } = s;
  await s.tab("Variables");
  await page.getByRole("row", { name: /GREETING/ }).waitFor();
  const { items } = await s.call("GET", "/projects?limit=100");
  const project = items.find((p) => p.workerName === "panel-shop");
  const change = (name) => s.call("PATCH", `/projects/${project.id}/variables`, { set: [{ name, value: "seen" }], deploy: false });
  // Once this one is seen the page is connected, and has taken what comes at first.
  await change("EARLY");
  await page.getByRole("row", { name: /EARLY.*seen/ }).waitFor();
  await s.tolerating(/ERR_INTERNET_DISCONNECTED|Failed to fetch|network error/i, async () => {
    await browser.setOffline(true);
    // A connection that is open already stays so in this kind of offline.
    await change("LATE");
    await page.getByText("Slipway cannot be reached").first().waitFor();
    await browser.setOffline(false);
    await page.getByRole("alert").getByRole("button", { name: "Try again" }).click();
    await page.getByRole("row", { name: /LATE.*seen/ }).waitFor();
  });
  s.note("went on after a lost connection");
}

// everyPage looks at all pages, and at the dialogs that open on them.
export async function everyPage(s) {
  const { page, shop } = s;
  const { items } = await s.call("GET", "/deployments?limit=100");
  const project = (view) => `/projects/${shop.id}/${view}`;
  const stages = [
    { path: "", dialogs: ["New project"] },
    { path: `/projects/${shop.id}` },
    { path: `/projects/${s.untouched.id}` },
    { path: project("deployments") },
    { path: project("releases"), dialogs: ["Roll out", "Put release"] },
    { path: project("domains") },
    { path: project("variables"), dialogs: ["Add", "Change GREETING"] },
    { path: project("logs") },
    { path: project("settings"), dialogs: ["Delete …"] },
    { path: `/deployments/${items.find((d) => d.outcome === "succeeded").id}` },
    { path: "/dead-letters" },
    { path: "/usage" },
    { path: "/members", dialogs: ["Invite somebody"] },
    { path: "/tokens", dialogs: ["New token"] },
    { path: "/webhooks", dialogs: ["New webhook"] },
    { path: `/webhooks/${s.webhook.id}` },
    { path: "/audit" },
    { path: "/account", dialogs: ["New organization"] },
    { path: "/device" },
    { path: "/nothing" },
  ];
  await page.emulateMedia({ reducedMotion: "reduce" });
  for (const { path, dialogs = [] } of stages) {
    await s.goto(path);
    await ready(page);
    const name = path.replace(/[a-z]+_[a-z2-7]{26}/, "id").replaceAll("/", "-") || "-projects";
    await looksRight(s, name);
    for (const dialog of dialogs) await dialogHolds(s, dialog, name);
  }
  await longNames(s);
  await page.setViewportSize({ width: 1280, height: 900 });
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "no-preference" });
  s.note("looked at every page and dialog, light and dark, wide and narrow");
}

async function ready(page) {
  await page.locator("main h1").waitFor();
  await page.waitForFunction(() => !document.querySelector(".loading"));
}

const sizes = { desktop: { width: 1280, height: 900 }, phone: { width: 360, height: 740 } };

// looksRight holds what is shown to both themes and sizes.
async function looksRight(s, name) {
  const { page } = s;
  const unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input, select, textarea, a, table, dialog, nav, section")].filter((e) => !(e.matches("button, a") && e.textContent.trim()) && !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.labels?.length || e.getAttribute("aria-hidden"))).map((e) => e.outerHTML.slice(0, 120)));
  assert.deepEqual(unnamed, [], `${name} has parts without a name`);
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await tooFaint(page), [], `${name} has text in ${colorScheme} that can hardly be read`);
    for (const [size, viewport] of Object.entries(sizes)) {
      // What is wider than the screen is so in every colour.
      if (colorScheme === "dark" && !s.shots) continue;
      await page.setViewportSize(viewport);
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      assert(wider <= 0, `${name} is ${wider} pixels wider than a ${size}`);
      await s.shot(`${size}-${colorScheme}${name}`);
    }
  }
}

// dialogHolds opens a dialog by the keyboard: the focus goes in, stays in, and comes
// back when Escape closes it.
async function dialogHolds(s, name, on) {
  const { page } = s;
  const opener = await page.getByRole("button", { name }).first().elementHandle();
  await opener.press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  const inside = () => page.evaluate(() => document.activeElement?.closest("dialog") != null);
  await page.waitForFunction(() => document.activeElement?.closest("dialog"));
  await looksRight(s, `${on}-${name.toLowerCase().replaceAll(/\W+/g, "-")}`);
  const stops = await dialog.locator("button, input, select, textarea").count();
  for (const key of ["Tab", "Shift+Tab"]) {
    for (let i = 0; i <= stops; i++) {
      await page.keyboard.press(key);
      assert(await inside(), `${key} leaves the dialog ${name}`);
    }
  }
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  await page.waitForFunction((element) => document.activeElement === element, opener);
}

// longNames shows what people and programs are called at most: it breaks or is cut, and
// widens nothing.
async function longNames(s) {
  const { page } = s;
  const endless = "Wolfeschlegelsteinhausenbergerdorff".repeat(4);
  const widened = async (name) => {
    await page.setViewportSize(sizes.phone);
    const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
    assert(wider <= 0, `${name} is ${wider} pixels wider than a phone`);
    await s.shot("long-" + name);
  };
  // Whoever has left is told by an id.
  await page.route("**/members?*", (route) => route.fulfill({ json: { items: [] } }));
  await s.goto("/audit");
  await page.locator("code.id").first().waitFor();
  await widened("audit");
  await page.unrouteAll({ behavior: "ignoreErrors" });
  await page.route("**/projects?*", async (route) => {
    const answer = await route.fetch();
    const list = await answer.json();
    await route.fulfill({ response: answer, json: { ...list, items: list.items.map((p) => ({ ...p, name: endless, url: `https://${endless}.example.com/` })) } });
  });
  await s.goto("");
  await page.getByRole("link", { name: endless }).first().waitFor();
  await widened("projects");
  await page.unrouteAll({ behavior: "ignoreErrors" });
}
