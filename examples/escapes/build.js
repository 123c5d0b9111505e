// Tries to get out and reports what it could do. See README.md.
import { mkdirSync, writeFileSync } from "node:fs";
import { plant } from "./plant.js";
import { probes, twins } from "./probes.js";

const report = { probes: {}, twins: {} };

async function attempt(act) {
  try {
    return { ok: true, detail: String((await act()) ?? "") };
  } catch (error) {
    return { ok: false, detail: String(error?.message ?? error) };
  }
}

// A probe succeeds by resolving: then the sandbox has allowed it.
for (const [name, act] of Object.entries(probes)) {
  const { ok, detail } = await attempt(act);
  report.probes[name] = { outcome: ok ? "ALLOWED" : "refused", detail };
  console.log(`PROBE ${name} ${report.probes[name].outcome}`);
}
for (const [name, act] of Object.entries(twins)) {
  const { ok, detail } = await attempt(act);
  report.twins[name] = { outcome: ok ? "ok" : "FAILED", detail };
  console.log(`TWIN ${name} ${report.twins[name].outcome}`);
}

const json = JSON.stringify(report, null, 2);
const escaped = json.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
mkdirSync("dist", { recursive: true });
writeFileSync("dist/report.json", json);
writeFileSync(
  "dist/index.html",
  `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>What a hostile build could do</title></head>
<body><h1>What a hostile build could do</h1><pre id="report">${escaped}</pre></body>
</html>
`,
);

for (const kind of process.argv.slice(2)) plant(kind);
process.exit(0);
