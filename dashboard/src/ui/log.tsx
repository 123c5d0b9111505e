// A log that grows. Lines are put into the page one by one, as text, without going
// through the tree of components: there may be thousands a second.
import { useEffect, useRef, useState } from "preact/hooks";
import { Button } from "./parts";

export interface LogEntry {
  text: string;
  number?: number;
  at?: string;
  tone?: "bad" | "warn" | "dim" | "note";
}

// Older lines leave the page; the whole log can be downloaded.
const most = 5000;

export interface LogSink {
  add: (entries: LogEntry[]) => void;
  clear: () => void;
}

// Terminal colours and other escapes say nothing here.
const escapes = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])|[\x00-\x08\x0b-\x1f\x7f]/g;

export function Log({ label, connect, empty, download }: { label: string; connect: (sink: LogSink) => () => void; empty: string; download?: { href: string; name: string } }) {
  const box = useRef<HTMLDivElement>(null);
  const lines = useRef<HTMLDivElement>(null);
  const [following, setFollowing] = useState(true);
  const [any, setAny] = useState(false);
  const followingNow = useRef(true);
  followingNow.current = following;

  useEffect(() => {
    const list = lines.current!;
    const follow = () => {
      if (followingNow.current && box.current) box.current.scrollTop = box.current.scrollHeight;
    };
    let waiting: LogEntry[] = [];
    let frame = 0;
    const paint = () => {
      frame = 0;
      const fragment = document.createDocumentFragment();
      for (const entry of waiting.slice(-most)) fragment.append(lineOf(entry));
      waiting = [];
      list.append(fragment);
      while (list.childElementCount > most) list.firstElementChild!.remove();
      follow();
    };
    // A narrower window breaks more lines.
    const resized = new ResizeObserver(follow);
    resized.observe(list);
    resized.observe(box.current!);
    const stop = connect({
      add: (entries) => {
        if (entries.length === 0) return;
        waiting.push(...entries);
        setAny(true);
        frame ||= requestAnimationFrame(paint);
      },
      clear: () => {
        waiting = [];
        list.replaceChildren();
        setAny(false);
      },
    });
    return () => {
      stop();
      resized.disconnect();
      cancelAnimationFrame(frame);
      list.replaceChildren();
    };
  }, [connect]);

  const scrolled = () => {
    const b = box.current;
    if (b) setFollowing(b.scrollHeight - b.scrollTop - b.clientHeight < 24);
  };
  return (
    <div class="log">
      {!any && <p class="log-empty">{empty}</p>}
      <div class="log-box" ref={box} onScroll={scrolled} tabIndex={0} role="log" aria-label={label} aria-live="off" hidden={!any}>
        <div ref={lines} />
      </div>
      <div class="log-foot">
        {any && !following && (
          <Button
            small
            onClick={() => {
              setFollowing(true);
              if (box.current) box.current.scrollTop = box.current.scrollHeight;
            }}
          >
            ↓ Follow
          </Button>
        )}
        {download && any && (
          <a class="button small plain" href={download.href} download={download.name}>
            Download
          </a>
        )}
      </div>
    </div>
  );
}

function lineOf(entry: LogEntry): HTMLElement {
  const line = document.createElement("div");
  line.className = entry.tone ? "line " + entry.tone : "line";
  const before = entry.number !== undefined ? String(entry.number) : entry.at;
  if (before !== undefined) {
    const mark = document.createElement("span");
    mark.className = "mark";
    mark.textContent = before;
    line.append(mark);
  }
  const text = document.createElement("span");
  text.className = "text";
  text.textContent = entry.text.replace(escapes, "");
  line.append(text);
  return line;
}
