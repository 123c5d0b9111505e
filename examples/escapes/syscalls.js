// System calls that JavaScript has no name for, made by Perl, which is part of
// every Debian and Ubuntu.
import { execFileSync } from "node:child_process";

const numbers = {
  x64: {
    getpid: 39, ptrace: 101, mount: 165, umount2: 166, init_module: 175, keyctl: 250, unshare: 272,
    perf_event_open: 298, bpf: 321, userfaultfd: 323, io_uring_setup: 425,
  },
  arm64: {
    umount2: 39, mount: 40, unshare: 97, init_module: 105, ptrace: 117, getpid: 172, keyctl: 219,
    perf_event_open: 241, bpf: 280, userfaultfd: 282, io_uring_setup: 425,
  },
}[process.arch];

// What a filter or a missing privilege answers: EPERM, EACCES, ENOSYS. Any other
// error comes from the call itself, so the call was let through.
const refusals = [1, 13, 38];

// syscall makes a call; its arguments are Perl expressions.
export function syscall(name, ...args) {
  const call = [numbers[name], ...args].join(", ");
  const out = execFileSync("perl", ["-e", `my @a = (${call}); my $r = syscall($a[0], @a[1..$#a]); printf "%d %d", $r, $! + 0;`], { encoding: "utf8" });
  const [result, errno] = out.split(" ").map(Number);
  return { result, errno: result < 0 ? errno : 0 };
}

// refusedSyscall throws when the call is refused and says what came of it when not.
export function refusedSyscall(name, ...args) {
  const { result, errno } = syscall(name, ...args);
  if (refusals.includes(errno)) throw new Error(`${name}: errno ${errno}`);
  if (name === "mount" && result === 0) syscall("umount2", args[1], 2);
  return `${name} gave ${result}, errno ${errno}`;
}
