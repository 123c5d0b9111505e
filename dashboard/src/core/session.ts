// Who is signed in, and the organization they act in.
import { computed, signal } from "@preact/signals";
import { ApiError, asError, get, onSessionEnded, organizationId, post } from "./api";
import { onShutOut, subscribe, watch } from "./live";
import { navigate, place } from "./router";
import type { Organization, Page, Role, User } from "./types";

// undefined is not known yet, null is nobody.
export const user = signal<User | null | undefined>(undefined);
export const organizations = signal<Organization[]>([]);
export const startError = signal<ApiError | undefined>(undefined);

export const organization = computed(() => organizations.value.find((o) => o.id === organizationId.value));

const ranks: Role[] = ["viewer", "developer", "admin", "owner"];

// may says whether one's role here includes another; the API decides, this only
// keeps the page from offering what it would refuse.
export function may(least: Role): boolean {
  const role = organization.value?.role;
  return role !== undefined && ranks.indexOf(role) >= ranks.indexOf(least);
}

const remembered = "slipway.organization";

let unsubscribe: (() => void) | undefined;

export async function start(): Promise<void> {
  startError.value = undefined;
  onSessionEnded(() => {
    if (user.value) leave();
  });
  // A role may change, or end, while the page is open.
  const again = () => void loadOrganizations().catch(() => {});
  onShutOut(again);
  unsubscribe?.();
  unsubscribe = subscribe((event) => {
    if (event !== "resync" && event.type === "member" && event.id === user.value?.id) again();
  });
  try {
    const answer = await get<{ user?: User } | null>("/api/auth/get-session");
    if (!answer?.user) {
      user.value = null;
      return;
    }
    await enter(answer.user);
  } catch (thrown) {
    const error = asError(thrown);
    if (error.status === 401) user.value = null;
    else startError.value = error;
  }
}

// enter goes on as somebody who is signed in.
export async function enter(who: User): Promise<void> {
  await loadOrganizations();
  user.value = who;
  watch(true);
}

export async function loadOrganizations(): Promise<void> {
  const list = await get<Page<Organization>>("/orgs?limit=100");
  organizations.value = list.items;
  const kept = recall();
  const current = list.items.find((o) => o.id === organizationId.value) ?? list.items.find((o) => o.id === kept) ?? list.items[0];
  organizationId.value = current?.id;
}

export function switchTo(id: string) {
  organizationId.value = id;
  try {
    localStorage.setItem(remembered, id);
  } catch {
    // It is only remembered for as long as the page is open, then.
  }
}

function recall(): string | null {
  try {
    return localStorage.getItem(remembered);
  } catch {
    return null;
  }
}

// leave shows the sign-in form, and comes back to where one was.
function leave() {
  watch(false);
  user.value = null;
  organizations.value = [];
  const at = place.value;
  if (at.path === "/sign-in") return;
  const query = at.query.toString();
  const next = at.path + (query ? "?" + query : "");
  navigate(next === "/" ? "/sign-in" : "/sign-in?next=" + encodeURIComponent(next), { replace: true });
}

export async function signOut(): Promise<void> {
  await post("/api/auth/sign-out", {});
  watch(false);
  user.value = null;
  organizations.value = [];
  organizationId.value = undefined;
  navigate("/sign-in");
}
