// What the build tries. Each probe resolves when it was allowed, and throws when
// it was refused; each twin resolves when the permitted form of it works.
import { execFileSync, spawn } from "node:child_process";
import { closeSync, constants, mkdirSync, openSync, readdirSync, readFileSync, readSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { proxied, tcp, udp } from "./reach.js";
import { refusedSyscall, syscall } from "./syscalls.js";

const list = (name) => (process.env[name] ?? "").split(",").filter(Boolean);

const refuse = (why) => {
  throw new Error(why);
};

// any resolves when one of the acts is allowed, and says which.
async function any(acts) {
  const refusals = [];
  for (const [name, act] of acts) {
    try {
      return `${name}: ${(await act()) ?? ""}`;
    } catch (error) {
      refusals.push(`${name}: ${error.message}`);
    }
  }
  return refuse(refusals.join("; ") || "nothing to try");
}

function readsSomething(path) {
  const content = readFileSync(path);
  return content.length > 0 ? `${content.length} bytes` : refuse("empty");
}

function opens(path, flags) {
  closeSync(openSync(path, flags));
}

// readsAny reads a little and never waits for it: what lies there may be endless,
// or masked by an empty file, which opens and has nothing.
function readsAny(path) {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const length = readSync(file, Buffer.alloc(8192), 0, 8192, null);
    return length > 0 ? `${length} bytes` : refuse("empty");
  } finally {
    closeSync(file);
  }
}

// changes writes a file and puts it back as it was.
function changes(path) {
  const before = readFileSync(path);
  writeFileSync(path, before);
}

function creates(path) {
  writeFileSync(path, "", { flag: "wx" });
  rmSync(path);
}

const pids = () => readdirSync("/proc").filter((name) => /^\d+$/.test(name));

function environments() {
  return pids().flatMap((pid) => {
    try {
      return [[pid, readFileSync(`/proc/${pid}/environ`, "utf8")]];
    } catch {
      return []; // refused, or gone
    }
  });
}

const status = (field) => readFileSync("/proc/self/status", "utf8").match(new RegExp(`^${field}:\\s*(\\S+)`, "m"))?.[1];

const hostServices = ["127.0.0.1:22", "127.0.0.1:3005", "127.0.0.1:3008", "127.0.0.1:5432", "127.0.0.1:7233", "127.0.0.1:8233"];
const privatePlaces = ["127.0.0.1:5432", "localhost:3008", "[::1]:5432", "169.254.169.254:80", "10.0.0.1:80", "192.168.0.1:80", "0.0.0.0:5432"];

export const probes = {
  "shadow": () => readsSomething("/etc/shadow"),
  "host-files": () =>
    any([...list("PROBE_FILES"), "/root/.ssh/id_rsa", "/root/.ssh/id_ed25519"].map((path) => [path, () => readsSomething(path)])),
  "host-environment": () => {
    const secrets = [...list("PROBE_SECRETS").map((word) => word.replaceAll("-", "")), "POSTGRES_URL=", "S3_SECRET_ACCESS_KEY=", "TEMPORAL_ADDRESS="];
    for (const [pid, environment] of environments()) {
      const found = secrets.find((secret) => environment.includes(secret));
      if (found) return `process ${pid} has ${found}`;
    }
    return refuse("no environment has any of them");
  },
  "host-processes": () => {
    const daemons = ["systemd", "sshd", "postgres", "dockerd", "containerd"];
    for (const pid of pids()) {
      try {
        const name = readFileSync(`/proc/${pid}/comm`, "utf8").trim();
        if (daemons.includes(name)) return `${name} is process ${pid}`;
      } catch {
        // gone
      }
    }
    return refuse("none to be seen");
  },
  "host-loopback": () => any([...list("PROBE_TCP"), ...hostServices].map((address) => [address, () => tcp(address)])),
  "host-sockets": () =>
    any(
      [...list("PROBE_SOCKETS"), "/var/run/docker.sock", "/run/containerd/containerd.sock", "/tmp/.s.PGSQL.5432"].map((path) => [path, () => tcp(path)]),
    ),
  "metadata-address": () => any(["169.254.169.254:80", "[fd00:ec2::254]:80"].map((address) => [address, () => tcp(address)])),
  "internet": () => any(["1.1.1.1:443", "8.8.8.8:53"].map((address) => [address, () => tcp(address)])),
  "name-service": () => udp("8.8.8.8", 53),
  "proxy-to-private": () => any([...list("PROBE_TCP"), ...privatePlaces].map((address) => [address, () => proxied(address)])),
  "proxy-to-others": () => any(["example.com:443", "example.com:80"].map((address) => [address, () => proxied(address)])),

  "proc-sys": () => any(["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname"].map((path) => [path, () => changes(path)])),
  "sysrq": () => opens("/proc/sysrq-trigger", constants.O_WRONLY),
  "devices": () => any(["/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/fuse", "/dev/kvm"].map((path) => [path, () => readsAny(path)])),
  "kernel-memory": () => readsAny("/proc/kcore"),
  "own-limits": () => any(["memory.max", "pids.max", "cgroup.procs"].map((name) => [name, () => opens(`/sys/fs/cgroup/${name}`, constants.O_WRONLY)])),
  "system-folders": () => any(["/usr/bin", "/etc", "/"].map((folder) => [folder, () => creates(join(folder, "slipway-escape"))])),
  "toolchain": () => any([dirname(process.execPath), "/opt/toolchain"].map((folder) => [folder, () => creates(join(folder, "slipway-escape"))])),

  "capabilities": () => (/[^0]/.test(status("CapEff")) ? `CapEff ${status("CapEff")}` : refuse("none")),
  "new-privileges": () => (status("NoNewPrivs") === "1" ? refuse("no_new_privs is set") : "no_new_privs is not set"),
  "host-root": () => {
    const maps = readFileSync("/proc/self/uid_map", "utf8").trim().split("\n");
    const toRoot = maps.find((line) => line.trim().split(/\s+/)[1] === "0");
    return toRoot ? `uid_map ${toRoot.trim()}` : refuse(maps.join(", "));
  },
  "mount": () => {
    const folder = join(tmpdir(), "slipway-mount");
    mkdirSync(folder, { recursive: true });
    return refusedSyscall("mount", '"none"', JSON.stringify(folder), '"tmpfs"', 0, 0);
  },
  "user-namespace": () => refusedSyscall("unshare", 0x10000000),
  "ptrace": () => {
    const child = spawn("sleep", ["5"]);
    try {
      return refusedSyscall("ptrace", 16, child.pid, 0, 0);
    } finally {
      child.kill("SIGKILL");
    }
  },
  "bpf": () => refusedSyscall("bpf", 0, 0, 0),
  "perf": () => refusedSyscall("perf_event_open", 0, 0, -1, -1, 0),
  "keyring": () => refusedSyscall("keyctl", 0, -3, 0),
  "io-uring": () => refusedSyscall("io_uring_setup", 1, 0),
  "userfaultfd": () => refusedSyscall("userfaultfd", 0),
  "kernel-module": () => refusedSyscall("init_module", 0, 0, '""'),

  // Whether this one outlives the build, only the host can say: the test looks
  // for its name. Nothing is wrong with starting it.
  "daemon": () => {
    const daemon = spawn("sh", ["-c", "trap '' HUP TERM; : slipway-escape-daemon; sleep 300; sleep 300"], { detached: true, stdio: "ignore" });
    daemon.unref();
    return refuse(`started as ${daemon.pid}`);
  },
};

export const twins = {
  "own-files": () => readsSomething("package.json"),
  "own-environment": () => (process.env.PATH ? readsSomething("/proc/self/environ") : refuse("no PATH")),
  "own-processes": () => (pids().includes(String(process.pid)) ? "" : refuse("not to be seen")),
  "own-loopback": () =>
    new Promise((resolve, reject) => {
      const server = createServer((socket) => socket.end()).on("error", reject);
      server.listen(0, "127.0.0.1", () => {
        const { port } = server.address();
        tcp(`127.0.0.1:${port}`).then(() => server.close(() => resolve("")), reject);
      });
    }),
  "own-socket": () =>
    new Promise((resolve, reject) => {
      const path = join(tmpdir(), `slipway-${process.pid}.sock`);
      const server = createServer((socket) => socket.end()).on("error", reject);
      server.listen(path, () => {
        connect(path)
          .on("error", reject)
          .on("connect", () => server.close(() => resolve("")))
          .resume();
      });
    }),
  "registry": () => execFileSync("npm", ["view", "is-number", "version"], { encoding: "utf8", timeout: 60_000 }).trim() || refuse("no answer"),
  "write-project": () => creates("slipway-escape"),
  "write-temporary": () => creates(join(tmpdir(), "slipway-escape")),
  "null-device": () => opens("/dev/null", constants.O_RDWR),
  "child-process": () => execFileSync("sh", ["-c", "echo child"], { encoding: "utf8" }).trim(),
  "syscall": () => (syscall("getpid").result > 0 ? "" : refuse("getpid failed")),
  "signal-child": () =>
    new Promise((resolve, reject) => {
      const child = spawn("sleep", ["60"]).on("error", reject);
      child.on("exit", (_, signal) => (signal === "SIGTERM" ? resolve("") : reject(new Error(`ended by ${signal}`))));
      child.kill("SIGTERM");
    }),
};
