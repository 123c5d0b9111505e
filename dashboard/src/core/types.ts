// The shapes of the API that the page reads; GET /openapi.json has all of them.

export interface Page<T> {
  items: T[];
  nextCursor?: string;
}

export type Role = "viewer" | "developer" | "admin" | "owner";
export type Scope = "read" | "deploy" | "admin";

export interface User {
  id: string;
  name: string;
  email: string;
}

export interface Organization {
  id: string;
  name: string;
  role: Role;
}

export interface Project {
  id: string;
  orgId: string;
  name: string;
  workerName: string;
  url: string;
  liveReleaseId?: string;
  createdAt: string;
  updatedAt: string;
}

export type DeploymentStatus = "queued" | "in_progress" | "completed" | "failed";
export type Outcome = "succeeded" | "superseded" | "rejected" | "dead_letter" | "abandoned" | "canceled";

export interface Deployment {
  id: string;
  projectId: string;
  userId: string;
  sequence: number;
  status: DeploymentStatus;
  outcome?: Outcome;
  currentStep?: StepName;
  progress: number;
  error?: string;
  errorCode?: string;
  customDomain?: string;
  releaseId?: string;
  createdAt: string;
  updatedAt: string;
  finishedAt?: string;
}

export const stepNames = ["validate", "sync", "sandbox", "build", "deploy", "cleanup"] as const;
export type StepName = (typeof stepNames)[number];

export interface Step {
  status: "pending" | "in_progress" | "completed" | "failed";
  timestamp?: string;
  startedAt?: string;
  error?: string;
  skipped?: boolean;
  reason?: string;
}

export interface Diagnosis {
  step: string;
  command?: string;
  exitCode?: number;
  cause?: string;
  advice?: string;
  tail?: string[];
}

// What a deployment's stream says with each change.
export interface Status {
  status: DeploymentStatus;
  outcome?: Outcome;
  currentStep?: StepName;
  progress: number;
  steps: Record<StepName, Step>;
  logs: string[];
  error?: string;
  errorCode?: string;
  diagnosis?: Diagnosis;
  releaseId?: string;
  url?: string;
  retries?: number;
  stale?: boolean;
}

export interface DeploymentDetail extends Deployment, Status {
  status: DeploymentStatus;
  outcome?: Outcome;
  currentStep?: StepName;
}

export interface Release {
  id: string;
  projectId: string;
  deploymentId: string;
  sequence: number;
  framework?: string;
  files: number;
  bytes: number;
  live: boolean;
  worker: boolean;
  previewUrl: string;
  createdAt: string;
}

export interface Rollout {
  id: string;
  projectId: string;
  releaseId: string;
  baseReleaseId: string;
  steps: number[];
  every: string;
  maxErrorRate: number;
  percent: number;
  status: "running" | "completed" | "reverted" | "canceled" | "superseded";
  reason?: string;
  createdAt: string;
  finishedAt?: string;
}

export interface Domain {
  id: string;
  projectId: string;
  host: string;
  status: "pending" | "verified" | "active" | "failed";
  reason?: string;
  dns: { type: string; name: string; value: string; purpose: string }[];
  createdAt: string;
  activeAt?: string;
}

export interface Variable {
  name: string;
  value?: string;
  secret: boolean;
  updatedAt: string;
}

export interface WorkerLogLine {
  time: string;
  releaseId: string;
  kind: "console" | "exception" | "request" | "system";
  level: string;
  message: string;
  stack?: string;
  method?: string;
  path?: string;
  status?: number;
  outcome?: string;
  durationMs?: number;
}
