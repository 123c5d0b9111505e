// One word and one colour for how things stand.
import type { Deployment, Domain, Rollout, Step } from "../core/types";
import type { Tone } from "./parts";

// deploymentState knows, given the live release, which deployment made it.
export function deploymentState(d: Pick<Deployment, "status" | "outcome" | "releaseId">, liveReleaseId?: string): { text: string; tone: Tone } {
  switch (d.outcome) {
    case "succeeded":
      return { text: d.releaseId && d.releaseId === liveReleaseId ? "Live" : "Succeeded", tone: "ok" };
    case "superseded":
      return { text: "Superseded", tone: "idle" };
    case "rejected":
      return { text: "Failed", tone: "bad" };
    case "dead_letter":
      return { text: "Parked", tone: "warn" };
    case "abandoned":
      return { text: "Abandoned", tone: "idle" };
    case "canceled":
      return { text: "Canceled", tone: "idle" };
  }
  switch (d.status) {
    case "queued":
      return { text: "Queued", tone: "idle" };
    case "in_progress":
      return { text: "Running", tone: "run" };
    case "completed":
      return { text: "Completed", tone: "ok" };
    default:
      return { text: "Failed", tone: "bad" };
  }
}

export function stepTone(step: Step): Tone {
  if (step.skipped) return "idle";
  return ({ pending: "idle", in_progress: "run", completed: "ok", failed: "bad" } as const)[step.status];
}

export const domainTone = (d: Domain): Tone => ({ pending: "warn", verified: "run", active: "ok", failed: "bad" })[d.status] as Tone;

export const rolloutTone = (r: Rollout): Tone =>
  ({ running: "run", completed: "ok", reverted: "bad", canceled: "idle", superseded: "idle" })[r.status] as Tone;
