// The files of a folder that somebody has dropped or chosen.
import { bytes, count } from "../core/format";
import { Ignore } from "./ignore";

export interface Picked {
  path: string;
  file: File;
}

// The API's limits with default settings; it holds to its own in any case.
export const maxFiles = 5000;
export const maxFileBytes = 5 << 20;

// Node is a file or a folder on its way in.
interface Node {
  name: string;
  file?: () => Promise<File>;
  children?: () => Promise<Node[]>;
}

// fromDrop reads what was dropped. Call it in the event itself: the browser takes
// the items back afterwards.
export function fromDrop(data: DataTransfer): Promise<Picked[]> {
  const nodes: Node[] = [];
  for (const item of data.items) {
    const entry = item.kind === "file" ? item.webkitGetAsEntry() : null;
    if (entry) nodes.push(ofEntry(entry));
  }
  return collect(nodes);
}

export function fromInput(files: FileList): Promise<Picked[]> {
  const top: Tree = new Map();
  for (const file of files) {
    const parts = (file.webkitRelativePath || file.name).split("/");
    let folder = top;
    for (const part of parts.slice(0, -1)) {
      let next = folder.get(part);
      if (!(next instanceof Map)) folder.set(part, (next = new Map()));
      folder = next;
    }
    folder.set(parts[parts.length - 1]!, file);
  }
  return collect(ofTree(top));
}

type Tree = Map<string, Tree | File>;

function ofTree(tree: Tree): Node[] {
  return [...tree].map(([name, what]) => (what instanceof Map ? { name, children: async () => ofTree(what) } : { name, file: async () => what }));
}

function ofEntry(entry: FileSystemEntry): Node {
  if (entry.isFile) return { name: entry.name, file: () => new Promise((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)) };
  return {
    name: entry.name,
    children: async () => {
      const reader = (entry as FileSystemDirectoryEntry).createReader();
      const all: Node[] = [];
      // A reader gives a hundred entries at a time.
      for (;;) {
        const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
        if (some.length === 0) return all;
        all.push(...some.map(ofEntry));
      }
    },
  };
}

// collect goes through the folders, in which a single one at the top is what is meant.
async function collect(top: Node[]): Promise<Picked[]> {
  const only = top.length === 1 ? top[0] : undefined;
  const nodes = only?.children ? await only.children() : top;
  const picked: Picked[] = [];
  await walk("", nodes, new Ignore(), picked);
  if (picked.length === 0) throw new Error("There are no files to deploy in it; what .gitignore names is left out.");
  picked.sort((a, b) => (a.path < b.path ? -1 : 1));
  return picked;
}

async function walk(folder: string, nodes: Node[], ignore: Ignore, picked: Picked[]): Promise<void> {
  const rules = nodes.find((node) => node.name === ".gitignore" && node.file);
  if (rules?.file) ignore.add(folder, await (await rules.file()).text());
  for (const node of nodes) {
    const path = folder === "" ? node.name : folder + "/" + node.name;
    if (ignore.skips(path, !!node.children)) continue;
    if (node.children) {
      await walk(path, await node.children(), ignore, picked);
      continue;
    }
    const file = await node.file!();
    if (file.size > maxFileBytes) throw new Error(`${path} has ${bytes(file.size)}; a file may have ${bytes(maxFileBytes)}. Name what should stay behind in .gitignore.`);
    if (picked.length === maxFiles) throw new Error(`There are more than ${count(maxFiles)} files. Name what should stay behind in .gitignore.`);
    picked.push({ path, file });
  }
}
