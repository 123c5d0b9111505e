// Run by TestSources_units with Node's own test runner.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import { EventParser } from "../src/core/parser";
import { Ignore } from "../src/deploy/ignore";
import { sha256 } from "../src/deploy/sha256";

test("SHA-256 is Node's, at every length around a block's end", () => {
  for (const length of [0, 1, 3, 55, 56, 57, 63, 64, 65, 119, 120, 1000, 100_000]) {
    const data = randomBytes(length);
    assert.equal(sha256(new Uint8Array(data)), createHash("sha256").update(data).digest("hex"), String(length));
  }
});

test(".gitignore keeps files back as git does", () => {
  const ignore = new Ignore();
  ignore.add("", "# a comment\n*.log\n!keep.log\n/dist\nbuild/\ndocs/**/draft-?.md\n\\#odd\n  \nspace\\ \n[ab].txt\n[!c]x\n**/deep\ntail/**\n");
  ignore.add("sub", "/only-here\nlocal");
  const skipped = (path: string) => ignore.skips(path.replace(/\/$/, ""), path.endsWith("/"));
  for (const path of ["a.log", "x/y/a.log", "dist", "build/", "x/build/", "docs/draft-1.md", "docs/x/y/draft-2.md", "#odd", "a.txt", "ax", "deep", "x/deep", "tail/x", "sub/only-here", "sub/x/local", "space ", ".git/", "x/node_modules/", ".slipway/", "x/.DS_Store"])
    assert(skipped(path), `${path} should stay behind`);
  for (const path of ["keep.log", "x/dist", "build", "docs/draft-12.md", "c.txt", "cx", "only-here", "local", "log", "a.logs", "tail"])
    assert(!skipped(path), `${path} should come along`);
});

test(".gitignore that is no pattern does not break the rest", () => {
  const ignore = new Ignore();
  ignore.add("", "[\n[]\n[z-a]\n(((\n\\\n*.tmp\n" + "*a".repeat(30) + "\n");
  assert(ignore.skips("x.tmp", false));
  const began = Date.now();
  ignore.skips("a".repeat(100) + "b", false);
  assert(Date.now() - began < 30000, "a pattern takes forever");
});

test("events arrive whole in whatever pieces they come", () => {
  const stream = "retry: 2000\n\n: hello\n\nid: 7\nevent: log\ndata: {\"a\":1}\n\nevent: status\r\ndata: one\r\ndata: two\r\n\r\ndata\n\nid: 8\n\n";
  for (const size of [1, 2, 5, 1000]) {
    const parser = new EventParser();
    const got = [];
    for (let at = 0; at < stream.length; at += size) got.push(...parser.push(stream.slice(at, at + size)));
    assert.deepEqual(got, [
      { id: "7", name: "log", data: '{"a":1}' },
      { id: "", name: "status", data: "one\ntwo" },
      { id: "", name: "message", data: "" },
    ]);
  }
});
