package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// intruderCommand has the test program act as a hostile build in its sandbox.
const intruderCommand = "intrude"

// attempt is one thing a hostile build tries, and its twin: the permitted form
// of the same act, which must work, so that a sandbox in which nothing works
// does not pass for a safe one.
type attempt struct {
	name        string
	act, permit func() error
}

// outcome is what the intruder reports of an attempt: "" is success.
type outcome struct{ Act, Twin string }

// intrude makes every attempt and reports on stdout.
func intrude() int {
	report := map[string]outcome{}
	for _, a := range attempts() {
		report[a.name] = outcome{Act: say(a.act()), Twin: say(a.permit())}
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		return 1
	}
	return 0
}

func say(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func attempts() []attempt {
	hostAddress := os.Getenv("HOST_ADDRESS")
	own := os.Getenv("OWN_FOLDER")
	return append(syscallAttempts(), []attempt{
		{"read the host's shadow file", read("/etc/shadow"), read("/etc/passwd")},
		{"read the host's accounts", contains("/etc/passwd", os.Getenv("HOST_ACCOUNT")), contains("/etc/passwd", "build")},
		{"read root's home", list("/root/.ssh", "/root/.npmrc", "/root/.cache"), list(own)},
		{"find the state folder", list(os.Getenv("HOST_STATE")), list(own)},
		{"reach the container engine", list("/run/docker.sock", "/var/run/docker.sock", "/run/containerd", "/run/slipway"), list("/tmp")},
		{"read another's environment", environments("HOST_SECRET_MARK"), environments("OWN_MARK")},
		{"read process 1's environment", read("/proc/1/environ"), read("/proc/self/environ")},
		{"pass through process 1's root", list("/proc/1/root/usr"), list("/proc/self/root/usr")},
		{"read process 1's memory", read("/proc/1/mem"), read("/proc/self/maps")},
		{"write process 1's memory", openWrite("/proc/1/mem"), openWrite("/proc/self/comm")},
		{"write process 1's score", openWrite("/proc/1/oom_score_adj"), openWrite("/proc/self/oom_score_adj")},
		{"read kernel memory", read("/proc/kcore"), read("/proc/meminfo")},
		{"read kernel keys", nonEmpty("/proc/keys"), nonEmpty("/proc/uptime")},
		{"read disks", read("/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/mem", "/dev/kmsg"), read("/dev/zero")},
		{"make containers", openWrite("/dev/fuse", "/dev/kvm", "/dev/loop-control"), openWrite("/dev/null")},
		{"set the core pattern", openWrite("/proc/sys/kernel/core_pattern"), read("/proc/sys/kernel/core_pattern")},
		{"set a kernel setting", openWrite("/proc/sys/kernel/hostname", "/proc/sys/vm/drop_caches"), read("/proc/sys/kernel/ostype")},
		{"trigger sysrq", openWrite("/proc/sysrq-trigger"), openWrite("/dev/null")},
		{"write control groups", create("/sys/fs/cgroup/x", "/sys/fs/cgroup/memory/release_agent"), read("/proc/self/cgroup")},
		{"use sysfs", list("/sys/kernel", "/sys/class"), list("/proc/self")},
		{"write the root", create("/escape"), create(own + "/escape")},
		{"write the system", create("/usr/bin/escape", "/etc/escape", "/lib/escape"), create("/tmp/escape")},
		{"write its own supervisor", openWrite("/.slipway/guest"), openWrite(own + "/own")},
		{"write the toolchain and snapshot", create("/opt/toolchain/x", "/.slipway/snapshot/x", "/.slipway/x"), create(own + "/x")},
		{"reach the host's loopback", dial("127.0.0.1:" + os.Getenv("HOST_PORT")), ownLoopback},
		{"reach the host's loopback over IPv6", dial("[::1]:" + os.Getenv("HOST_PORT")), ownLoopback},
		{"reach the host's own address", dial(net.JoinHostPort(hostAddress, os.Getenv("HOST_PORT"))), ownLoopback},
		{"reach the metadata service", dial("169.254.169.254:80", "[fd00:ec2::254]:80"), ownLoopback},
		{"reach the internet", dial("1.1.1.1:443", "[2606:4700:4700::1111]:443"), ownLoopback},
		{"ask a name server", lookup, ownLoopback},
		{"send a datagram", datagram("192.0.2.1:53"), ownDatagram},
		{"reach a host's abstract socket", dialUnix("@" + os.Getenv("HOST_ABSTRACT")), ownAbstract},
		{"signal the host's processes", signalPID(os.Getenv("HOST_PID")), signalChild},
		{"signal process 1", func() error { return unix.Kill(1, unix.SIGKILL) }, signalChild},
		{"gain root by a setuid program", setuidProgram, func() error { return exec.Command("/usr/bin/id", "-u").Run() }},
		{"run at real-time priority", realtime, func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, 5) }},
		{"run at higher priority", func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -20) },
			func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, 6) }},
		{"raise a limit", raiseLimit, lowerLimit},
	}...)
}

// syscallAttempts are calls the kernel must not even look at: an answer other
// than EPERM or ENOSYS would mean that it did.
func syscallAttempts() []attempt {
	child := func() error { return exec.Command("/bin/true").Run() }
	memory := func() error {
		fd, err := unix.MemfdCreate("twin", unix.MFD_CLOEXEC)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	}
	return []attempt{
		{"mount a file system", func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") }, create("/tmp/mounted")},
		{"bind mount", func() error { return unix.Mount("/", "/tmp", "", unix.MS_BIND, "") }, create("/tmp/bound")},
		{"unmount", func() error { return unix.Unmount("/proc/sys", unix.MNT_DETACH) }, create("/tmp/unmounted")},
		{"mount by the new interface", trap(unix.SYS_FSOPEN, str("tmpfs"), 0), create("/tmp/new")},
		{"copy a mount", trap(unix.SYS_OPEN_TREE, 0, str("/"), 1), create("/tmp/tree")},
		{"pivot the root", trap(unix.SYS_PIVOT_ROOT, str("/tmp"), str("/tmp")), create("/tmp/pivot")},
		{"chroot", func() error { return unix.Chroot("/tmp") }, func() error { return os.Chdir(os.Getenv("OWN_FOLDER")) }},
		{"unshare a user namespace", program("/usr/bin/unshare", "-U", "/bin/true"), child},
		{"clone into a user namespace", cloneUser, child},
		{"clone3 into a user namespace", clone3User, child},
		{"enter a namespace", trap(unix.SYS_SETNS, 0, 0), child},
		{"ptrace", ptraceChild, signalChild},
		{"read another's memory", trap(unix.SYS_PROCESS_VM_READV, uintptr(os.Getpid()), 0, 0), read("/proc/self/maps")},
		{"take another's file", trap(unix.SYS_PIDFD_GETFD, 0, 0, 0), memory},
		{"use keyrings", trap(unix.SYS_KEYCTL, 0, ^uintptr(2), 1), memory},
		{"add a key", trap(unix.SYS_ADD_KEY, str("user"), str("x"), str("x"), 1, ^uintptr(2)), memory},
		{"load a bpf program", trap(unix.SYS_BPF, 5, 0, 0), memory},
		{"open perf events", trap(unix.SYS_PERF_EVENT_OPEN, 0, 0, 0), memory},
		{"use userfaultfd", trap(unix.SYS_USERFAULTFD, 1), memory},
		{"use io_uring", trap(unix.SYS_IO_URING_SETUP, 1, 0), memory},
		{"load a module", trap(unix.SYS_FINIT_MODULE, 0, 0, 0), memory},
		{"load a kernel", trap(unix.SYS_KEXEC_LOAD, 0, 0, 0), memory},
		{"restart", trap(unix.SYS_REBOOT, 0, 0, 0), memory},
		{"set the clock", trap(unix.SYS_CLOCK_SETTIME, 0, 0), func() error { return unix.ClockGettime(0, new(unix.Timespec)) }},
		{"set the host's name", func() error { return unix.Sethostname([]byte("escaped")) }, func() error { _, err := os.Hostname(); return err }},
		{"open by handle", trap(unix.SYS_OPEN_BY_HANDLE_AT, 0, 0, 0), read("/etc/passwd")},
		{"watch a whole mount", trap(unix.SYS_FANOTIFY_INIT, 0, 0), func() error { fd, err := unix.InotifyInit1(0); _ = unix.Close(fd); return err }},
		{"read the kernel's log", trap(unix.SYS_SYSLOG, 3, 0, 0), read("/proc/uptime")},
		{"use swap", trap(unix.SYS_SWAPON, str("/tmp/x"), 0), memory},
		{"account processes", trap(unix.SYS_ACCT, 0), memory},
		{"map secret memory", trap(unix.SYS_MEMFD_SECRET, 0), memory},
		{"make a device", func() error { return unix.Mknod("/tmp/device", unix.S_IFBLK|0o600, 254<<8) }, func() error {
			defer os.Remove("/tmp/pipe")
			return unix.Mkfifo("/tmp/pipe", 0o600)
		}},
		{"become root", trap(unix.SYS_SETUID, 0), trap(unix.SYS_SETUID, uintptr(os.Getuid()))},
		{"become another user", trap(unix.SYS_SETUID, 1001), trap(unix.SYS_SETUID, uintptr(os.Getuid()))},
		{"open a raw socket", openSocket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP), openSocket(unix.AF_INET, unix.SOCK_STREAM, 0)},
		{"open a packet socket", openSocket(unix.AF_PACKET, unix.SOCK_RAW, 0), openSocket(unix.AF_INET6, unix.SOCK_DGRAM, 0)},
		{"open a hypervisor socket", openSocket(unix.AF_VSOCK, unix.SOCK_STREAM, 0), openSocket(unix.AF_UNIX, unix.SOCK_STREAM, 0)},
		{"open a crypto socket", openSocket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0), openSocket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)},
		{"open a netfilter socket", openSocket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER), openSocket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)},
	}
}

// each returns an act that succeeds when any of the given things does.
func each(names []string, act func(string) error) func() error {
	return func() error {
		var refused []error
		for _, name := range names {
			err := act(name)
			if err == nil {
				return nil
			}
			refused = append(refused, err)
		}
		return errors.Join(refused...)
	}
}

func read(names ...string) func() error {
	return each(names, func(name string) error {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		if _, err := file.Read(make([]byte, 1)); err != nil && err != io.EOF {
			return err
		}
		return nil
	})
}

func nonEmpty(name string) func() error {
	return func() error {
		content, err := os.ReadFile(name)
		if err == nil && len(content) == 0 {
			return errors.New("empty")
		}
		return err
	}
}

func contains(name, text string) func() error {
	return func() error {
		content, err := os.ReadFile(name)
		if err == nil && (text == "" || !bytes.Contains(content, []byte(text))) {
			return fmt.Errorf("no %q there", text)
		}
		return err
	}
}

func list(names ...string) func() error {
	return each(names, func(name string) error { _, err := os.ReadDir(name); return err })
}

func openWrite(names ...string) func() error {
	return each(names, func(name string) error {
		flags := os.O_WRONLY
		if strings.HasPrefix(name, os.Getenv("OWN_FOLDER")) {
			flags |= os.O_CREATE
		}
		file, err := os.OpenFile(name, flags, 0o600)
		if err != nil {
			return err
		}
		return file.Close()
	})
}

func create(names ...string) func() error {
	return each(names, func(name string) error { return os.WriteFile(name, []byte("escape"), 0o600) })
}

// environments looks for a mark in every environment it may read.
func environments(mark string) func() error {
	return func() error {
		files, _ := filepath.Glob("/proc/[0-9]*/environ")
		for _, file := range files {
			content, _ := os.ReadFile(file)
			if bytes.Contains(content, []byte("\x00"+mark+"=")) || bytes.HasPrefix(content, []byte(mark+"=")) {
				return nil
			}
		}
		return fmt.Errorf("%s is in none of %d environments", mark, len(files))
	}
}

func dial(addresses ...string) func() error {
	return each(addresses, func(address string) error {
		conn, err := net.DialTimeout("tcp", address, 2*time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func ownLoopback() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	return dial(listener.Addr().String())()
}

func datagram(address string) func() error {
	return func() error {
		conn, err := net.Dial("udp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("x"))
		return err
	}
}

func ownDatagram() error {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer conn.Close()
	return datagram(conn.LocalAddr().String())()
}

func lookup() error {
	_, err := net.LookupHost("registry.npmjs.org")
	return err
}

func dialUnix(address string) func() error {
	return func() error {
		conn, err := net.Dial("unix", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

func ownAbstract() error {
	listener, err := net.Listen("unix", "@own")
	if err != nil {
		return err
	}
	defer listener.Close()
	return dialUnix("@own")()
}

func signalPID(text string) func() error {
	return func() error {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		return unix.Kill(pid, 0)
	}
}

func signalChild() error {
	child := exec.Command("/bin/sleep", "60")
	if err := child.Start(); err != nil {
		return err
	}
	if err := child.Process.Kill(); err != nil {
		return err
	}
	_ = child.Wait()
	return nil
}

func ptraceChild() error {
	child := exec.Command("/bin/sleep", "60")
	if err := child.Start(); err != nil {
		return nil
	}
	defer func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	}()
	return unix.PtraceAttach(child.Process.Pid)
}

func program(args ...string) func() error {
	return func() error { return exec.Command(args[0], args[1:]...).Run() }
}

// setuidProgram plants a setuid program and runs one of the system's.
func setuidProgram() error {
	out, err := exec.Command("/bin/sh", "-c", "cp /usr/bin/id /tmp/id && chmod 4755 /tmp/id && /tmp/id -u").Output()
	if err == nil && strings.TrimSpace(string(out)) != "0" {
		err = fmt.Errorf("still user %s", bytes.TrimSpace(out))
	}
	if err == nil {
		return nil
	}
	if system := exec.Command("/usr/bin/su", "-c", "true", "root").Run(); system == nil {
		return nil
	}
	return err
}

func realtime() error {
	priority := int32(1)
	_, _, errno := unix.Syscall(unix.SYS_SCHED_SETSCHEDULER, 0, 1, uintptr(unsafe.Pointer(&priority)))
	return errnoError(errno)
}

func raiseLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Max++
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

func lowerLimit() error {
	return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1 << 20, Max: 1 << 20})
}

func cloneUser() error {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return errnoError(errno)
}

func clone3User() error {
	arguments := [11]uint64{unix.CLONE_NEWUSER, 0, 0, 0, uint64(unix.SIGCHLD)}
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&arguments)), unsafe.Sizeof(arguments), 0)
	if errno == 0 && pid == 0 {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	return errnoError(errno)
}

func openSocket(family, kind, protocol int) func() error {
	return func() error {
		fd, err := unix.Socket(family, kind, protocol)
		if err != nil {
			return err
		}
		return unix.Close(fd)
	}
}

// trap makes a system call whose arguments are nonsense on purpose: what must
// not happen is that the kernel looks at them.
func trap(number uintptr, arguments ...any) func() error {
	return func() error {
		var a [6]uintptr
		for i, argument := range arguments {
			switch value := argument.(type) {
			case int:
				a[i] = uintptr(value)
			case uintptr:
				a[i] = value
			case *byte:
				a[i] = uintptr(unsafe.Pointer(value))
			}
		}
		_, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		return errnoError(errno)
	}
}

func str(text string) *byte {
	pointer, _ := unix.BytePtrFromString(text)
	return pointer
}

// errnoError takes any answer but a refusal for a success.
func errnoError(errno unix.Errno) error {
	if errno == unix.EPERM || errno == unix.ENOSYS {
		return errno
	}
	return nil
}
