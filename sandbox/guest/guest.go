// Package guest is what runs inside a sandbox: its first process, which
// carries connections to the registry proxy, and small commands that run a
// build step, unpack files and pack output.
//
// It is untrusted like everything else in there: hosts check all it says. It
// holds no privilege: it runs without capabilities, under the same system call
// list as the build.
package guest

import "os"

// Path is where the executable is mounted inside a sandbox, and its argv[0].
const Path = "/.slipway/guest"

// Started says whether this process was started inside a sandbox as the guest.
func Started() bool { return len(os.Args) > 1 && os.Args[0] == Path }

// Main runs the guest command named by args and returns its exit code.
func Main(args []string) int { return 2 }
