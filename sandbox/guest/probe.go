package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Probe is what a sandbox looks like from the inside. A host compares it with
// what it asked for; see the provider's self-test.
type Probe struct {
	// Status holds the fields of /proc/self/status that say what this process
	// may do: CapInh … CapAmb, NoNewPrivs, Seccomp, Uid, Gid, Groups.
	Status map[string]string `json:"status"`
	// UIDMap and GIDMap are /proc/self/uid_map and gid_map.
	UIDMap string `json:"uidMap"`
	GIDMap string `json:"gidMap"`
	// Namespaces are the links in /proc/self/ns.
	Namespaces map[string]string `json:"namespaces"`
	// Interfaces are the network interfaces there are.
	Interfaces []string `json:"interfaces"`
	// Attempts are acts and how they ended: "" is success, else the error.
	Attempts map[string]string `json:"attempts"`
	// Overlay is how changing a mounted snapshot went: "" is well.
	Overlay string `json:"overlay"`
}

// SnapshotProbe is the file, below node_modules, that the self-test's snapshot
// has for the probe to work on.
const SnapshotProbe = "package/file"

// Permitted are the attempts that must succeed in a sound sandbox: each is the
// allowed form of one that must fail, so that a sandbox in which nothing works
// does not pass for a safe one.
var Permitted = []string{
	"write workspace", "write home", "write tmp", "read own passwd",
	"read own environment", "own loopback", "start a program",
}

// Forbidden are the attempts that must fail.
var Forbidden = []string{
	"read shadow", "write root", "write usr", "write guest", "write proc sys",
	"mount", "unshare user namespace", "ptrace", "keyctl", "bpf", "perf",
	"userfaultfd", "io_uring", "raw socket", "packet socket", "vsock",
	"algorithm socket", "reach outside", "read memory of process 1",
	"read environment of process 1", "make a device", "become another user",
}

func probeMain() error {
	// Some attempts belong to a thread: the namespace one would take the
	// whole process along.
	runtime.LockOSThread()
	probe := Probe{
		Status:     readStatus(),
		UIDMap:     readText("/proc/self/uid_map"),
		GIDMap:     readText("/proc/self/gid_map"),
		Namespaces: map[string]string{},
		Attempts:   map[string]string{},
	}
	links, _ := filepath.Glob("/proc/self/ns/*")
	for _, link := range links {
		probe.Namespaces[filepath.Base(link)], _ = os.Readlink(link)
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list network interfaces: %w", err)
	}
	for _, i := range interfaces {
		probe.Interfaces = append(probe.Interfaces, i.Name)
	}
	for name, act := range attempts() {
		probe.Attempts[name] = ""
		if err := act(); err != nil {
			probe.Attempts[name] = err.Error()
		}
	}
	if err := changeSnapshot(); err != nil {
		probe.Overlay = err.Error()
	}
	return json.NewEncoder(os.Stdout).Encode(probe)
}

// changeSnapshot does what builds do to node_modules: change a file, and remove
// and remake a folder, which needs more of the file system below.
func changeSnapshot() error {
	file := filepath.Join("/workspace/node_modules", SnapshotProbe)
	folder := filepath.Dir(file)
	if err := os.WriteFile(file, []byte("changed"), 0o600); err != nil {
		return err
	}
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	left, err := os.ReadDir(folder)
	if err == nil && len(left) > 0 {
		err = errors.New("what was in a removed folder came back")
	}
	return err
}

func readText(name string) string {
	content, _ := os.ReadFile(name)
	return strings.TrimSpace(string(content))
}

func readStatus() map[string]string {
	status := map[string]string{}
	for line := range strings.Lines(readText("/proc/self/status")) {
		key, value, _ := strings.Cut(line, ":")
		switch key {
		case "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid", "Groups":
			status[key] = strings.Join(strings.Fields(value), " ")
		}
	}
	return status
}

func attempts() map[string]func() error {
	return map[string]func() error{
		"write workspace":      func() error { return writeFile("/workspace/.slipway-probe") },
		"write home":           func() error { return writeFile("/home/build/.slipway-probe") },
		"write tmp":            func() error { return writeFile("/tmp/.slipway-probe") },
		"read own passwd":      func() error { return readFile("/etc/passwd") },
		"read own environment": func() error { return readFile("/proc/self/environ") },
		"own loopback":         ownLoopback,
		"start a program":      func() error { return exec.Command("/bin/sh", "-c", "exit 0").Run() },

		"read shadow":    func() error { return readFile("/etc/shadow") },
		"write root":     func() error { return writeFile("/.slipway-probe") },
		"write usr":      func() error { return writeFile("/usr/.slipway-probe") },
		"write guest":    func() error { return openForWriting(Path) },
		"write proc sys": func() error { return openForWriting("/proc/sys/kernel/core_pattern") },
		"mount":          func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") },
		"ptrace":         ptraceChild,
		"unshare user namespace": func() error {
			return unix.Unshare(unix.CLONE_NEWUSER)
		},
		"keyctl": func() error {
			_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
			return err
		},
		"bpf":                           func() error { return call(unix.SYS_BPF, 0, 0, 0) },
		"perf":                          perfOpen,
		"userfaultfd":                   func() error { return open(unix.SYS_USERFAULTFD, unix.O_CLOEXEC) },
		"io_uring":                      ioUring,
		"raw socket":                    func() error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) },
		"packet socket":                 func() error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0) },
		"vsock":                         func() error { return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) },
		"algorithm socket":              func() error { return socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0) },
		"reach outside":                 reachOutside,
		"read memory of process 1":      func() error { return readFile("/proc/1/mem") },
		"read environment of process 1": func() error { return readFile("/proc/1/environ") },
		"make a device":                 func() error { return unix.Mknod("/tmp/.slipway-device", unix.S_IFCHR|0o600, 1<<8|3) },
		"become another user":           becomeAnother,
	}
}

func writeFile(name string) error {
	if err := os.WriteFile(name, []byte("probe"), 0o600); err != nil {
		return err
	}
	return os.Remove(name)
}

func openForWriting(name string) error {
	file, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return file.Close()
}

func readFile(name string) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err = file.Read(make([]byte, 1)); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func ownLoopback() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	return conn.Close()
}

func ptraceChild() error {
	child := exec.Command("/bin/sleep", "10")
	if err := child.Start(); err != nil {
		// Said as a success: the attempt proves nothing.
		return nil
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	return unix.PtraceAttach(child.Process.Pid)
}

func becomeAnother() error {
	before := unix.Getuid()
	for _, uid := range []int{0, 1, 1001} {
		if uid != before && unix.Setuid(uid) == nil {
			return nil
		}
	}
	return errors.New("still the same user")
}

// reachOutside sends a datagram to an address that is nowhere: without a
// route the kernel refuses, with one it does not wait for an answer.
func reachOutside() error {
	conn, err := net.Dial("udp", "192.0.2.1:9")
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte{0})
	return err
}

func socket(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func call(trap, a, b, c uintptr) error {
	_, _, errno := unix.Syscall(trap, a, b, c)
	return asError(errno)
}

func open(trap, flags uintptr) error {
	fd, _, errno := unix.Syscall(trap, flags, 0, 0)
	if errno == 0 {
		return unix.Close(int(fd))
	}
	return asError(errno)
}

func perfOpen() error {
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Size: unix.PERF_ATTR_SIZE_VER5, Bits: unix.PerfBitExcludeKernel,
	}, 0, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func ioUring() error {
	var params [120]byte
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno == 0 {
		return unix.Close(int(fd))
	}
	return asError(errno)
}

func asError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	if errno == unix.EINVAL || errno == unix.EFAULT {
		// The kernel looked at the arguments: the call itself is allowed.
		return nil
	}
	return errors.New(errno.Error())
}
