// What changes in the organization, as it changes. One stream feeds every panel:
// each says which events touch what it shows, and is loaded again when one comes.
import { effect, signal } from "@preact/signals";
import { organizationId } from "./api";
import { follow, type StreamState } from "./sse";

export interface LiveEvent {
  type: string; // deployment, release, project, domain, rollout, …
  id: string;
  projectId?: string;
  status?: string;
}

// "resync" means that changes may have been missed: everything shown is loaded again.
type Listener = (event: LiveEvent | "resync") => void;

const listeners = new Set<Listener>();

export function subscribe(listener: Listener): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const connection = signal<StreamState>("connecting");

// How long a hidden page stays connected. A browser opens only a few connections to
// a host, and tabs that nobody looks at must not hold them.
const hiddenFor = 20_000;

const watching = signal(false);
const visible = signal(true);

export function watch(on: boolean) {
  watching.value = on;
}

// Called when one may not watch the organization any more.
let shutOut = () => {};
export function onShutOut(handler: () => void) {
  shutOut = handler;
}

export function startLive() {
  let timer: number | undefined;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.visibilityState === "visible") visible.value = true;
    else timer = setTimeout(() => (visible.value = false), hiddenFor);
  });
  effect(() => {
    if (!watching.value || !visible.value || !organizationId.value) return;
    return follow("/events", {
      onState: (state, error) => {
        connection.value = state;
        if (error?.status === 403 || error?.status === 404) shutOut();
      },
      onEvent: (event) => {
        if (event.name === "resync") return tell("resync");
        try {
          tell(JSON.parse(event.data) as LiveEvent);
        } catch {
          tell("resync");
        }
      },
    });
  });
}

function tell(event: LiveEvent | "resync") {
  for (const listener of [...listeners]) listener(event);
}
