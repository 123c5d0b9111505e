// Sending a folder: only what the organization has no copy of yet is uploaded.
import { call, post } from "../core/api";
import type { Project } from "../core/types";
import type { Picked } from "./folder";
import { digest } from "./sha256";

export interface Progress {
  phase: "reading" | "uploading" | "starting";
  done: number;
  total: number;
}

// As the command line does: six files side by side, a thousand digests a question.
const atOnce = 6;
const digestsAtOnce = 1000;

export async function send(project: Project, userId: string, picked: Picked[], progress: (p: Progress) => void, options: { preview?: boolean; signal: AbortSignal }): Promise<string> {
  let read = 0;
  const files = await inParallel(picked, 4, options.signal, async ({ path, file }) => {
    const sum = await digest(await file.arrayBuffer());
    progress({ phase: "reading", done: ++read, total: picked.length });
    return { path, file, sha256: sum };
  });
  const byDigest = new Map(files.map((f) => [f.sha256, f]));
  const digests = [...byDigest.keys()];
  const missing: string[] = [];
  for (let at = 0; at < digests.length; at += digestsAtOnce) {
    const answer = await call<{ missing: string[] }>("POST", "/blobs/missing", { body: { sha256: digests.slice(at, at + digestsAtOnce) }, signal: options.signal });
    missing.push(...answer.missing);
  }
  let sent = 0;
  progress({ phase: "uploading", done: 0, total: missing.length });
  await inParallel(missing, atOnce, options.signal, async (sum) => {
    await call("PUT", "/blobs/" + sum, { raw: byDigest.get(sum)!.file, signal: options.signal });
    progress({ phase: "uploading", done: ++sent, total: missing.length });
  });
  progress({ phase: "starting", done: 0, total: 0 });
  const answer = await call<{ deploymentId: string }>("POST", "/deploy", {
    body: { projectId: project.id, orgId: project.orgId, userId, preview: options.preview ?? false, files: files.map((f) => ({ path: f.path, sha256: f.sha256 })) },
    headers: { "Idempotency-Key": random() },
    signal: options.signal,
  });
  return answer.deploymentId;
}

// again deploys the project's latest source once more.
export async function again(project: Project, userId: string): Promise<string> {
  const answer = await post<{ deploymentId: string }>("/deploy", { projectId: project.id, orgId: project.orgId, userId });
  return answer.deploymentId;
}

async function inParallel<T, R>(items: T[], width: number, signal: AbortSignal, work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      signal.throwIfAborted();
      const at = next++;
      results[at] = await work(items[at]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker));
  return results;
}

function random(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
