// Things of the API on the screen: loaded when first shown, and again when a live
// event says that they have changed.
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { type ApiError, asError, get } from "./api";
import { type LiveEvent, subscribe } from "./live";
import type { Page } from "./types";

export interface Resource<T> {
  data?: T;
  error?: ApiError;
  loading: boolean;
  reload: () => void;
  // set shows a newer state that came with another answer.
  set: (data: T) => void;
}

// Events come in bursts; what they touch is loaded once, soon after the first.
const gather = 120;

export type Wants = (event: LiveEvent) => boolean;

// useResource loads under a key; undefined is nothing to load yet. What no event tells
// about is loaded once.
export function useResource<T>(key: string | undefined, load: (signal: AbortSignal) => Promise<T>, wants?: Wants): Resource<T> {
  const [state, setState] = useState<{ key?: string; data?: T; error?: ApiError; loading: boolean }>({ loading: true });
  const latest = useRef({ load, wants });
  latest.current = { load, wants };
  const again = useRef<() => void>(() => {});

  useEffect(() => {
    if (key === undefined) return;
    const stop = new AbortController();
    let running = false;
    let dirty = false;
    let timer: number | undefined;
    const run = async () => {
      if (running) {
        dirty = true;
        return;
      }
      running = true;
      dirty = false;
      try {
        const data = await latest.current.load(stop.signal);
        if (!stop.signal.aborted) setState({ key, data, loading: false });
      } catch (thrown) {
        if (stop.signal.aborted) return;
        const error = asError(thrown);
        // What was shown stays while the connection is away.
        setState((before) => ({ key, data: before.key === key && error.status !== 404 ? before.data : undefined, error, loading: false }));
      }
      running = false;
      if (dirty && !stop.signal.aborted) void run();
    };
    const soon = () => {
      clearTimeout(timer);
      timer = setTimeout(() => void run(), gather);
    };
    again.current = () => void run();
    setState((before) => (before.key === key ? { ...before, loading: true } : { key, loading: true }));
    void run();
    const unsubscribe = subscribe((event) => {
      if (latest.current.wants && (event === "resync" || latest.current.wants(event))) soon();
    });
    return () => {
      stop.abort();
      clearTimeout(timer);
      unsubscribe();
    };
  }, [key]);

  const reload = useCallback(() => again.current(), []);
  const set = useCallback((data: T) => setState((before) => ({ ...before, data, error: undefined, loading: false })), []);
  if (state.key !== key) return { loading: true, reload, set };
  return { data: state.data, error: state.error, loading: state.loading, reload, set };
}

export interface Pages<T> extends Resource<T[]> {
  more?: () => void;
}

const pageSize = 30;

// usePages loads a list page by page. Loading it again brings as many as are shown.
export function usePages<T>(path: string | undefined, wants: Wants): Pages<T> {
  const [count, setCount] = useState(pageSize);
  const before = useRef(path);
  if (before.current !== path) {
    before.current = path;
    if (count !== pageSize) setCount(pageSize);
  }
  const wanted = useRef(count);
  wanted.current = count;
  const list = useResource<{ items: T[]; next?: string }>(
    path,
    async (signal) => {
      const items: T[] = [];
      let next: string | undefined;
      do {
        const address = new URL(path ?? "/", location.origin);
        address.searchParams.set("limit", String(Math.min(100, wanted.current - items.length)));
        if (next) address.searchParams.set("cursor", next);
        const page = await get<Page<T>>(address.pathname + address.search, signal);
        items.push(...page.items);
        next = page.nextCursor;
      } while (next && items.length < wanted.current);
      return { items, next };
    },
    wants,
  );
  const first = useRef(true);
  useEffect(() => {
    if (first.current) first.current = false;
    else if (count > pageSize) list.reload();
  }, [count]);
  return {
    data: list.data?.items,
    error: list.error,
    loading: list.loading,
    reload: list.reload,
    set: (items) => list.set({ items, next: list.data?.next }),
    more: list.data?.next ? () => setCount(count + pageSize) : undefined,
  };
}
