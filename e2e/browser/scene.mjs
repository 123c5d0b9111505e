// What the scripts that use the dashboard stand on: Chromium, the people in it, the
// API as a program uses it, and a list of what a page must never do.
import assert from "node:assert/strict";
import { join } from "node:path";
import { chromium } from "playwright-core";

// How long anything may take. What goes wrong ends earlier; this is for slow machines,
// on which a build comes after everything else that wants the processors.
export const patience = 300_000;

export class Scene {
  // What went wrong, in the console or on the network.
  wrong = [];
  // What is expected to go wrong while something is tried on purpose.
  tolerated = /^$/;
  #began = Date.now();

  // open starts Chromium, which finds no other machine than this one.
  //   letters    gives the texts of all mails, the newest first
  //   elsewhere  are the origins besides the API's that pages may go to
  //   prepare    is done to every new browser
  //   shots      is the folder for screenshots; without one none are made
  static async open({ executablePath, apiURL, letters, elsewhere = [], prepare, shots }) {
    const scene = new Scene();
    Object.assign(scene, { apiURL, letters, prepare, shots, origin: new URL(apiURL).origin });
    scene.allowed = new Set([scene.origin, ...elsewhere]);
    scene.machine = await chromium.launch({
      executablePath,
      headless: true,
      args: ["--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1"],
    });
    scene.browser = await scene.someone();
    scene.page = await scene.watched(await scene.browser.newPage());
    return scene;
  }

  // play runs flows one after another and fails when anything went wrong on the way.
  async play(flows) {
    try {
      for (const flow of flows) {
        await flow(this);
        assert.deepEqual(this.wrong, [], `something went wrong in ${flow.name}`);
      }
    } catch (error) {
      await this.shot("failed");
      console.log("At", this.page.url(), "\n", this.wrong.join("\n"));
      throw error;
    } finally {
      await this.machine.close();
    }
  }

  // someone is a browser with cookies of its own.
  async someone() {
    const context = await this.machine.newContext({ serviceWorkers: "block", viewport: { width: 1280, height: 900 } });
    context.setDefaultTimeout(patience);
    await this.prepare?.(context);
    return context;
  }

  // watched collects what a page must not do.
  async watched(page) {
    const report = (text) => this.tolerated.test(text) || this.wrong.push(text);
    // The status of an answer is told below, in time; the console says it again, later.
    page.on("console", (m) => m.type() === "error" && !m.text().includes("the server responded with a status") && report(m.text()));
    page.on("pageerror", (error) => report(String(error)));
    page.on("request", (r) => {
      const url = new URL(r.url());
      if (!this.allowed.has(url.origin) && !["data:", "blob:"].includes(url.protocol)) this.wrong.push(`asks ${r.url()}`);
      if (/slp_|sli_|token=/.test(url.href) && !r.isNavigationRequest()) this.wrong.push(`a secret in ${r.url()}`);
    });
    page.on("response", (r) => r.status() >= 400 && report(`${r.status()} ${r.request().method()} ${r.url()}`));
    await page.addInitScript(() => {
      document.addEventListener("securitypolicyviolation", (e) => console.error("policy broken:", e.violatedDirective, e.blockedURI));
    });
    return page;
  }

  // tolerating lets what fits the pattern go wrong while something is tried.
  async tolerating(pattern, work) {
    this.tolerated = pattern;
    try {
      return await work();
    } finally {
      this.tolerated = /^$/;
    }
  }

  note(what) {
    console.log(`${((Date.now() - this.#began) / 1000).toFixed(1)} s  ${what}`);
  }

  async shot(name, page = this.page) {
    if (this.shots) await page.screenshot({ path: join(this.shots, `${name}.png`) }).catch(() => {});
  }

  // call uses the API as a program would.
  async call(method, path, body, as = this.token) {
    const answer = await fetch(this.apiURL + path, {
      method,
      headers: { ...(as ? { Authorization: `Bearer ${as}` } : {}), ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    assert(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : undefined;
  }

  deploy(project, files) {
    const initFiles = Object.entries(files).map(([path, content]) => ({ path, content }));
    return this.call("POST", "/deploy", { projectId: project.id, orgId: project.orgId, userId: this.me.user.id, initFiles });
  }

  async goto(path, page = this.page) {
    await page.goto(this.origin + "/app" + path);
  }

  heading(name, page = this.page) {
    return page.getByRole("heading", { name, level: 1 });
  }

  badge(text) {
    return this.page.locator("h1 .badge", { hasText: text });
  }

  // beside follows a link of the organization, tab one of a project.
  beside(name) {
    return this.page.getByRole("navigation", { name: "Organization" }).getByRole("link", { name }).click();
  }

  tab(name) {
    return this.page.getByRole("navigation", { name: "Project" }).getByRole("link", { name }).click();
  }

  confirm(name) {
    return this.page.getByRole("dialog").getByRole("button", { name }).click();
  }

  // linkTo finds the newest link in the mails to somebody that fits and is none of those before.
  async linkTo(address, pattern, before = []) {
    for (const until = Date.now() + patience; Date.now() < until; await new Promise((soon) => setTimeout(soon, 50))) {
      for (const letter of await this.letters()) {
        const found = letter.includes(address) && pattern.exec(letter);
        if (found && !before.includes(found[0])) return found[0];
      }
    }
    throw new Error(`no mail to ${address} has a link like ${pattern}`);
  }
}
