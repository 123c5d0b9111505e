// A program against the gateway, written as somebody who builds on it would. It compiles
// only while the document says what it relies on, and runs only while the gateway does
// what the document says.
import createClient from "openapi-fetch";
import type { components, paths } from "./types.js";

type Problem = components["schemas"]["Error"];

declare const process: { argv: string[] };
const [url, token] = process.argv.slice(2);
const gateway = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });

function must<T>(result: { data?: T; error?: Problem }): T {
  if (result.data === undefined) {
    throw new Error(`${result.error?.error}: ${result.error?.message}`);
  }
  return result.data;
}

const project = must(await gateway.POST("/projects", { body: { name: "Typed shop" } }));
const again = must(await gateway.GET("/projects/{id}", { params: { path: { id: project.id } } }));
if (again.workerName !== project.workerName) {
  throw new Error(`made ${project.workerName}, read ${again.workerName}`);
}

const names: string[] = [];
for (let cursor: string | undefined, more = true; more; more = cursor !== undefined) {
  const page = must(await gateway.GET("/projects", { params: { query: { cursor, limit: 1 } } }));
  names.push(...page.items.map((p) => p.name));
  cursor = page.nextCursor;
}
if (!names.includes("Typed shop")) {
  throw new Error(`not in the list: ${names.join(", ")}`);
}

const deployment = must(
  await gateway.POST("/deploy", {
    body: {
      projectId: project.id,
      orgId: project.orgId,
      userId: must(await gateway.GET("/deployments", {})).items[0]?.userId ?? "",
      initFiles: [{ path: "index.html", content: "<h1>typed</h1>", encoding: "utf-8" }],
    },
  }),
);
const status = must(await gateway.GET("/deploy-status", { params: { query: { id: deployment.deploymentId } } }));
const step: "pending" | "in_progress" | "completed" | "failed" = status.steps.validate.status;

// What the document does not have does not compile.
// @ts-expect-error there is no such path
await gateway.GET("/nothing", {});
// @ts-expect-error a project needs a name
const refused = await gateway.POST("/projects", { body: {} });
if (refused.response.status !== 400 || refused.error?.error !== "VALIDATION_ERROR") {
  throw new Error(`a project without a name: ${refused.response.status}`);
}

console.log(`deployed ${names.length} of ${project.url}: ${step}`);
