package bundle

import (
	"fmt"
	"slices"
	"strings"
)

// nodeCompatSince is the compatibility date from which workers have Node's
// modules without a flag (workerd's compatibility-date.capnp).
const nodeCompatSince = "2026-08-04"

// nodeCompat says whether the worker has the modules of Node.js.
func (s *Settings) nodeCompat() bool {
	if s.hasFlag("nodejs_compat") || s.hasFlag("nodejs_compat_v2") {
		return true
	}
	return s.CompatibilityDate >= nodeCompatSince && !s.hasFlag("no_nodejs_compat")
}

func (s *Settings) hasFlag(flag string) bool { return slices.Contains(s.CompatibilityFlags, flag) }

// isNodeBuiltin says whether a name means a module of Node.js, with or without
// the prefix "node:".
func isNodeBuiltin(name string) bool {
	bare, prefixed := strings.CutPrefix(name, "node:")
	if prefixed {
		return true
	}
	_, known := nodeBuiltins[bare]
	return known
}

// checkBuiltins refuses imports that would end the worker at its start, because
// its compatibility date is from before the runtime had the module. imports are
// those left in the bundled code.
func (s *Settings) checkBuiltins(imports []string) error {
	for _, flag := range s.CompatibilityFlags {
		if strings.HasPrefix(flag, "enable_nodejs_") {
			return nil // some come earlier by a flag of their own
		}
	}
	since, names := "", []string(nil)
	for _, name := range imports {
		bare, _ := strings.CutPrefix(name, "node:")
		if from := nodeBuiltins[bare]; from > s.CompatibilityDate {
			names = append(names, name)
			since = max(since, from)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("imports %s, which the runtime has for a compatibility_date of %s or later only, and it is %s",
		clip(strings.Join(slices.Compact(names), ", ")), since, s.CompatibilityDate)
}

// nodeBuiltins are the modules that Node 22 knows without the prefix
// (https://nodejs.org/docs/latest-v22.x/api/module.html#modulebuiltinmodules),
// each with the compatibility date from which the runtime has it; "" is always.
// TestNodeBuiltins_areInTheRuntimeFromTheirDates holds them to the pinned one.
var nodeBuiltins = map[string]string{
	"_stream_duplex": "", "_stream_passthrough": "", "_stream_readable": "", "_stream_transform": "",
	"_stream_writable": "", "_tls_common": "", "_tls_wrap": "", "assert": "", "assert/strict": "",
	"async_hooks": "", "buffer": "", "constants": "", "crypto": "", "diagnostics_channel": "", "dns": "",
	"dns/promises": "", "events": "", "fs/promises": "", "module": "", "net": "", "path": "", "path/posix": "",
	"path/win32": "", "process": "", "querystring": "", "stream": "", "stream/consumers": "",
	"stream/promises": "", "stream/web": "", "string_decoder": "", "timers": "", "timers/promises": "",
	"tls": "", "url": "", "util": "", "util/types": "", "zlib": "",

	"sys":         "2024-09-23",
	"_http_agent": "2025-08-15", "_http_client": "2025-08-15", "_http_common": "2025-08-15",
	"_http_incoming": "2025-08-15", "_http_outgoing": "2025-08-15", "http": "2025-08-15", "https": "2025-08-15",
	"_http_server": "2025-09-01", "http2": "2025-09-01",
	"fs": "2025-09-15", "os": "2025-09-15",
	"console": "2025-09-21",
	"vm":      "2025-10-01",
	"cluster": "2025-12-04", "domain": "2025-12-04", "punycode": "2025-12-04", "trace_events": "2025-12-04",
	"wasi":         "2025-12-04",
	"_stream_wrap": "2026-01-29", "dgram": "2026-01-29", "inspector": "2026-01-29",
	"inspector/promises": "2026-01-29",
	"child_process":      "2026-03-17", "perf_hooks": "2026-03-17", "readline": "2026-03-17",
	"readline/promises": "2026-03-17", "repl": "2026-03-17", "tty": "2026-03-17", "v8": "2026-03-17",
	"worker_threads": "2026-03-17",
}
