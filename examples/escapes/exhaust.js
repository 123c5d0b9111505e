// Takes one thing without end. Not to be run outside a sandbox.
import { spawn } from "node:child_process";
import { mkdirSync, openSync, writeSync } from "node:fs";

const MiB = 2 ** 20;

const exhaust = {
  // Each child sleeps, so that only their number counts.
  forks() {
    for (let i = 0; i < 100_000; i++) {
      const child = spawn("sleep", ["600"]);
      child.on("error", () => {});
      if (child.pid === undefined) throw new Error(`process ${i} could not be started: spawn sleep EAGAIN`);
    }
  },
  memory() {
    const taken = [];
    for (;;) taken.push(Buffer.alloc(64 * MiB, taken.length + 1));
  },
  disk() {
    mkdirSync("dist", { recursive: true });
    const file = openSync("dist/filler.bin", "w");
    const block = Buffer.alloc(8 * MiB, 1);
    for (;;) writeSync(file, block);
  },
  hang() {
    console.log("waiting for nothing");
    setInterval(() => {}, 1000);
  },
};

exhaust[process.argv[2]]();
