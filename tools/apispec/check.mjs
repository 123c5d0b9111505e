// check.mjs <document> <types>: holds an OpenAPI document to the rules of redocly.yaml
// and writes the TypeScript types made of it. It says each problem in a line and exits
// with 1 when there is one; warnings count, for nobody reads those of a run that passes.
import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { lint, loadConfig } from "@redocly/openapi-core";
import openapiTS, { astToString } from "openapi-typescript";

const [document, types] = process.argv.slice(2);
const config = await loadConfig({ configPath: fileURLToPath(new URL("redocly.yaml", import.meta.url)) });

const problems = await lint({ ref: document, config });
for (const { severity, ruleId, message, location } of problems) {
  console.log(`${severity} ${ruleId} ${location[0]?.pointer ?? ""}: ${message}`);
}
if (problems.length > 0) {
  process.exit(1);
}

const api = JSON.parse(await readFile(document, "utf8"));
await writeFile(types, astToString(await openapiTS(api, { alphabetize: true, silent: true })));
