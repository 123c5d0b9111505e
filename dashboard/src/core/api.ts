// The one way to the API. Every failure is an ApiError with the text of the
// error envelope; who is signed in is told by an HttpOnly cookie, never by anything
// the page could read.
import { signal } from "@preact/signals";

export interface FieldError {
  field?: string;
  in: string;
  message: string;
}

export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status: number,
    readonly details?: unknown,
    readonly retryAfter?: number,
  ) {
    super(message);
  }

  // What is wrong with one field of a form, if that is what this error says.
  field(name: string): string | undefined {
    if (!Array.isArray(this.details)) return undefined;
    const found = (this.details as FieldError[]).find((d) => d?.field === name);
    return found?.message;
  }
}

export interface CallOptions {
  body?: unknown;
  // Bytes to send as they are, instead of body.
  raw?: Blob;
  signal?: AbortSignal;
  headers?: Record<string, string>;
}

// The organization acted in, sent with every request but those about oneself.
export const organizationId = signal<string | undefined>(undefined);

// Called when the session turns out to have ended.
let sessionEnded = () => {};
export function onSessionEnded(handler: () => void) {
  sessionEnded = handler;
}

export async function call<T = unknown>(method: string, path: string, options: CallOptions = {}): Promise<T> {
  const answer = await request(method, path, options);
  if (answer.status === 204) return undefined as T;
  return (await readJSON(answer)) as T;
}

// callTagged also gives the version of what was read, for If-Match.
export async function callTagged<T>(method: string, path: string, options: CallOptions = {}): Promise<{ value: T; etag?: string }> {
  const answer = await request(method, path, options);
  return { value: (await readJSON(answer)) as T, etag: answer.headers.get("ETag") ?? undefined };
}

export const get = <T>(path: string, signal?: AbortSignal) => call<T>("GET", path, { signal });
export const post = <T = unknown>(path: string, body?: unknown) => call<T>("POST", path, { body });

// request sends and gives the answer when it is a success.
export async function request(method: string, path: string, options: CallOptions = {}): Promise<Response> {
  const headers: Record<string, string> = { Accept: "application/json", ...options.headers };
  const aboutOneself = path.startsWith("/api/auth/");
  if (organizationId.value && !aboutOneself) headers["X-Slipway-Organization"] = organizationId.value;
  let body: BodyInit | undefined;
  if (options.raw) {
    headers["Content-Type"] = "application/octet-stream";
    body = options.raw;
  } else if (options.body !== undefined) {
    headers["Content-Type"] = "application/json";
    body = JSON.stringify(options.body);
  }
  let answer: Response;
  try {
    answer = await fetch(path, { method, headers, body, signal: options.signal, credentials: "same-origin", cache: "no-store", redirect: "error" });
  } catch (cause) {
    if (options.signal?.aborted) throw cause;
    throw new ApiError("OFFLINE", "Slipway cannot be reached. Check the connection; the page goes on by itself once it is back.", 0);
  }
  if (answer.ok) return answer;
  const failure = await failureOf(answer);
  if (answer.status === 401 && !aboutOneself) sessionEnded();
  throw failure;
}

async function readJSON(answer: Response): Promise<unknown> {
  const text = await answer.text();
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    throw new ApiError("BAD_ANSWER", "The answer could not be read. Something between this page and Slipway has changed it.", answer.status);
  }
}

async function failureOf(answer: Response): Promise<ApiError> {
  const retryAfter = Number(answer.headers.get("Retry-After")) || undefined;
  const body = (await answer.json().catch(() => undefined)) as Record<string, unknown> | undefined;
  const code = text(body?.error) ?? text(body?.code) ?? `HTTP_${answer.status}`;
  const message = text(body?.message) ?? `Slipway answered with the status ${answer.status}.`;
  return new ApiError(code, message, answer.status, body?.details, retryAfter);
}

const text = (value: unknown) => (typeof value === "string" && value !== "" ? value : undefined);

// asError makes something to show of whatever was thrown.
export function asError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  return new ApiError("PAGE", thrown instanceof Error ? thrown.message : String(thrown), 0);
}
