// Leaves things in the output that a collector must not follow or keep.
import { execFileSync } from "node:child_process";
import { chmodSync, closeSync, copyFileSync, ftruncateSync, mkdirSync, openSync, symlinkSync, writeFileSync } from "node:fs";

const plants = {
  symlinks() {
    symlinkSync("/etc/passwd", "dist/absolute-link.txt");
    symlinkSync("../../../../../../etc/passwd", "dist/relative-link.txt");
    symlinkSync("/", "dist/folder-link");
  },
  setuid() {
    copyFileSync("/bin/sh", "dist/setuid");
    chmodSync("dist/setuid", 0o4755);
    writeFileSync("dist/setgid.txt", "setgid");
    chmodSync("dist/setgid.txt", 0o2755);
  },
  special() {
    execFileSync("mkfifo", ["dist/pipe"]);
  },
  deep() {
    const folder = `dist/${"d/".repeat(200)}`;
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}file.txt`, "deep");
  },
  huge() {
    const file = openSync("dist/huge.bin", "w");
    ftruncateSync(file, 2 ** 30);
    closeSync(file);
  },
};

export function plant(kind) {
  plants[kind]();
  console.log(`PLANTED ${kind}`);
}
