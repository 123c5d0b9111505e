import { mkdirSync, writeFileSync } from "node:fs";

mkdirSync("dist", { recursive: true });
writeFileSync("dist/index.html", `<!doctype html>
<html lang="en">
  <head><meta charset="utf-8" /><title>node-build</title></head>
  <body><h1>hello from node-build</h1></body>
</html>
`);
