// Prints what @netlify/build-info makes of each folder, one line of JSON a folder.
import { Project } from "@netlify/build-info";
import { NodeFS } from "@netlify/build-info/node";

for (const folder of process.argv.slice(2)) {
  const fs = new NodeFS();
  fs.logger = { debug() {}, log() {}, error: console.error, info() {}, warn() {} };
  fs.cwd = folder;
  const project = new Project(fs, folder, folder).setEnvironment({});
  const frameworks = await project.detectFrameworks();
  const manager = await project.detectPackageManager();
  console.log(
    JSON.stringify({
      folder,
      frameworks: (frameworks ?? []).map(({ id, build }) => ({ id, command: build.command, output: build.directory })),
      packageManager: manager?.name ?? "",
    }),
  );
}
