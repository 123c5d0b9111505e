// What a project's worker says, as it says it.
import { useCallback, useState } from "preact/hooks";
import type { ApiError } from "../core/api";
import { duration } from "../core/format";
import { follow } from "../core/sse";
import type { Project, WorkerLogLine } from "../core/types";
import { type LogEntry, type LogSink, Log } from "../ui/log";
import { Button, ErrorNote, Panel } from "../ui/parts";

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export function WorkerLogs({ project }: { project: Project }) {
  const [error, setError] = useState<ApiError | undefined>();
  const [search, setSearch] = useState("");
  const [round, setRound] = useState(0);
  const wanted = search.trim().toLowerCase();
  const connect = useCallback(
    (sink: LogSink) =>
      follow(`/projects/${project.id}/logs/stream?tail=300`, {
        onState: (_, failure) => setError(failure),
        onEvent: (event) => {
          if (event.name !== "log") return;
          const entries = entriesOf(JSON.parse(event.data) as WorkerLogLine);
          if (wanted === "" || entries.some((e) => e.text.toLowerCase().includes(wanted))) sink.add(entries);
        },
      }),
    [project.id, wanted, round],
  );
  return (
    <Panel
      title="Worker log"
      flush
      actions={
        <>
          <label class="unseen" for="log-search">
            Only lines with
          </label>
          <input id="log-search" type="search" placeholder="Only lines with …   /" value={search} onChange={(event) => setSearch(event.currentTarget.value)} />
          <Button small kind="quiet" onClick={() => setRound(round + 1)} title="Begin again with the latest lines">
            Reload
          </Button>
        </>
      }
    >
      <ErrorNote error={error} />
      <Log label="Worker log" connect={connect} empty={wanted ? "No line has that in it yet." : "The worker has said nothing yet. Requests, console output and exceptions come here as they happen."} />
    </Panel>
  );
}

function entriesOf(line: WorkerLogLine): LogEntry[] {
  const at = clock.format(Date.parse(line.time));
  switch (line.kind) {
    case "request": {
      const bad = (line.status ?? 0) >= 500 || (line.outcome !== undefined && line.outcome !== "ok" && line.outcome !== "canceled");
      const text = `${line.method ?? ""} ${line.path ?? ""} ${line.status ?? ""}${line.outcome && line.outcome !== "ok" ? " " + line.outcome : ""} ${line.durationMs !== undefined ? duration(line.durationMs) : ""}`;
      return [{ at, text, tone: bad ? "bad" : "dim" }];
    }
    case "exception":
      return [{ at, text: line.stack ? `${line.message}\n${line.stack}` : line.message, tone: "bad" }];
    case "system":
      return [{ at, text: line.message, tone: "note" }];
  }
  return [{ at, text: line.message, tone: line.level === "error" ? "bad" : line.level === "warn" ? "warn" : undefined }];
}
