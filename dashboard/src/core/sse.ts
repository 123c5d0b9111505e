// Server-sent events (HTML Standard §9.2) over fetch, because EventSource can
// neither name an organization nor show what an error answer says.
import { ApiError, asError, request } from "./api";
import { EventParser, type ServerEvent } from "./parser";

export type StreamState = "connecting" | "open" | "waiting" | "ended";

export interface FollowOptions {
  onEvent: (event: ServerEvent) => void;
  onState?: (state: StreamState, error?: ApiError) => void;
  // The event after which there is nothing more to come.
  lastEvent?: string;
}

const slowest = 15_000;

// follow reads a stream and reconnects, from where it was, until it is told that
// there is nothing more, is refused, or stop is called.
export function follow(path: string, options: FollowOptions): () => void {
  const stop = new AbortController();
  void run(path, options, stop.signal);
  return () => stop.abort();
}

async function run(path: string, options: FollowOptions, signal: AbortSignal) {
  let lastId = "";
  let wait = 1_000;
  let failure: ApiError | undefined;
  while (!signal.aborted) {
    // What went wrong is told until it is right again, not anew with each attempt.
    options.onState?.("connecting", failure);
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream" };
      if (lastId) headers["Last-Event-ID"] = lastId;
      const answer = await request("GET", path, { headers, signal });
      failure = undefined;
      options.onState?.("open");
      const ended = await read(answer, signal, (event) => {
        wait = 1_000;
        if (event.id) lastId = event.id;
        options.onEvent(event);
        return event.name === options.lastEvent;
      });
      if (ended) {
        options.onState?.("ended");
        return;
      }
    } catch (thrown) {
      if (signal.aborted) return;
      failure = asError(thrown);
    }
    if (signal.aborted) return;
    if (failure && failure.status >= 400 && failure.status < 500 && failure.status !== 429 && failure.status !== 408) {
      options.onState?.("ended", failure);
      return;
    }
    options.onState?.("waiting", failure);
    await sleep(Math.max(wait, (failure?.retryAfter ?? 0) * 1000), signal);
    wait = Math.min(wait * 2, slowest);
  }
}

// silence is how long a stream may say nothing; the server sends something every 15 seconds.
const silence = 45_000;

async function read(answer: Response, signal: AbortSignal, take: (event: ServerEvent) => boolean): Promise<boolean> {
  if (!answer.body) throw new ApiError("BAD_ANSWER", "The stream has no body.", answer.status);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const parser = new EventParser();
  let watchdog: number | undefined;
  try {
    for (;;) {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => void reader.cancel().catch(() => {}), silence);
      const { done, value } = await reader.read();
      if (done || signal.aborted) return false;
      for (const event of parser.push(value)) {
        if (take(event)) return true;
      }
    }
  } finally {
    clearTimeout(watchdog);
    void reader.cancel().catch(() => {});
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    addEventListener("online", done);
  });
}
