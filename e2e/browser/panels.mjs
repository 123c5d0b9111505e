// The panels of an organization and of a project: each shows what is done through the
// API without being loaded again.
import assert from "node:assert/strict";

export async function makeToken(s) {
  const { page } = s;
  await s.beside("API tokens");
  await page.getByRole("button", { name: "New token" }).click();
  await page.getByLabel("What it is for").fill("browser test");
  await page.getByLabel("It may").selectOption("admin");
  await s.confirm("Make the token");
  s.token = (await page.locator(".secret code").innerText()).trim();
  assert.match(s.token, /^slp_/);
  await s.confirm("Done");
  await page.getByRole("row", { name: /browser test/ }).waitFor();
  s.me = await s.call("GET", "/me");
  assert(!(await page.content()).includes(s.token), "the token is still in the page");
}

// panels are those that a look is enough for.
export async function panels(s) {
  const { page, shop, broken } = s;
  await s.beside("Projects");
  await page.getByRole("link", { name: "Broken" }).waitFor();
  await s.call("DELETE", `/projects/${broken.id}?confirm=panel-broken`);
  await page.getByRole("link", { name: "Broken" }).waitFor({ state: "detached" });
  await page.getByRole("link", { name: "Shop", exact: true }).click();

  await s.tab("Domains");
  await page.getByText("No domains yet").waitFor();
  await s.call("POST", `/projects/${shop.id}/domains`, { host: "shop.example.com" });
  const card = page.locator("[data-domain='shop.example.com']");
  await card.getByText("_slipway-challenge.shop.example.com", { exact: true }).waitFor();
  await card.getByText("CNAME", { exact: true }).waitFor();
  await s.shot("domains");
  await s.call("DELETE", `/projects/${shop.id}/domains/shop.example.com`);
  await card.waitFor({ state: "detached" });

  await s.tab("Variables");
  await page.getByText("None yet").waitFor();
  await s.call("PATCH", `/projects/${shop.id}/variables`, { set: [{ name: "GREETING", value: "hello" }, { name: "KEY", value: "hidden", secret: true }, { name: "A_NAME_".repeat(8), value: "and a value ".repeat(20) }], deploy: false });
  await page.getByRole("row", { name: /GREETING.*hello/ }).waitFor();
  assert(!(await page.content()).includes("hidden<"), "a secret is shown");

  await s.tab("Settings");
  await s.call("PATCH", "/projects/" + shop.id, { name: "Bookshop" });
  await s.heading("Bookshop").waitFor();

  await s.beside("API tokens");
  const made = await s.call("POST", "/tokens", { name: "short-lived", scope: "read" });
  await page.getByRole("button", { name: "Revoke short-lived" }).click();
  await s.confirm("Revoke it");
  await page.getByRole("row", { name: /short-lived/ }).waitFor({ state: "detached" });
  assert.equal((await fetch(s.apiURL + "/me", { headers: { Authorization: "Bearer " + made.token } })).status, 401);

  await webhooks(s);

  await s.beside("Audit log");
  await page.getByRole("row", { name: /change-webhook.*Ada/ }).waitFor();
  s.untouched = await s.call("POST", "/projects", { name: "Audited", workerName: "panel-audited" });
  await page.getByRole("row", { name: /create-project.*Ada/ }).first().waitFor();
  s.note("looked at domains, variables, settings, tokens, webhooks and the audit log");
}

async function webhooks(s) {
  const { page } = s;
  await s.beside("Webhooks");
  await page.getByText("No webhooks yet").waitFor();
  const hook = await s.call("POST", "/webhooks", { url: "https://hooks.example.com/slipway?key=hidden", events: ["deployment.*"] });
  s.webhook = hook;
  await page.getByRole("link", { name: /hooks\.example\.com/ }).click();
  await page.getByText("Nothing has happened yet").waitFor();
  await s.call("POST", `/webhooks/${hook.id}/test`);
  await page.getByRole("row", { name: /ping/ }).waitFor();
  await s.call("PATCH", `/webhooks/${hook.id}`, { enabled: false });
  await s.badge("Off").waitFor();
}

export async function device(s) {
  const { page } = s;
  const code = await s.call("POST", "/device/code", { clientName: "laptop" }, null);
  await s.goto("/device?code=" + code.userCode);
  await page.getByText("laptop").waitFor();
  assert.equal(await page.locator(".device-code").innerText(), code.userCode);
  await s.shot("device");
  await page.getByRole("button", { name: "Sign the device in" }).click();
  await page.getByText("The device is signed in").waitFor();
  const given = await s.call("POST", "/device/token", { deviceCode: code.deviceCode }, null);
  assert.equal((await s.call("GET", "/me", undefined, given.token)).user.email, s.person.email);
  s.note("signed a device in");
}

export async function members(s) {
  const { page, me } = s;
  await s.goto("/members");
  await page.getByRole("row", { name: /Ada/ }).waitFor();
  await s.call("POST", `/orgs/${me.organization.id}/invitations`, { email: "grace@example.com", role: "developer" });
  await page.getByRole("row", { name: /grace@example\.com.*developer/i }).waitFor();

  const link = await s.linkTo("grace@example.com", /\/app\/invitation\?token=[\w%-]+/);
  const elsewhere = await s.someone();
  const other = await s.watched(await elsewhere.newPage());
  await s.goto("/sign-up?next=" + encodeURIComponent(link.slice("/app".length)), other);
  await other.getByLabel("Name").fill("Grace");
  await other.getByLabel("E-mail").fill("grace@example.com");
  await other.getByLabel("Password").fill(s.person.password);
  await other.getByRole("button", { name: "Make the account" }).click();
  await other.getByRole("button", { name: "Accept the invitation" }).click();
  await other.getByRole("heading", { name: "Projects" }).waitFor();
  assert(!other.url().includes("token"), "the invitation's secret stays in the address");
  await other.getByRole("link", { name: "Bookshop" }).waitFor();
  await elsewhere.close();
  await page.getByRole("row", { name: /Grace grace@example\.com/ }).waitFor();
  s.note("invited somebody, who joined");
}
