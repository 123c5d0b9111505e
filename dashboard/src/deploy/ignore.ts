// What stays behind when a folder is deployed: .git, node_modules, .slipway, and what
// .gitignore files name (https://git-scm.com/docs/gitignore), as `slipway deploy` has it.

interface Rule {
  // The pattern's parts between slashes; "**" stands for any number of folders.
  parts: string[];
  // The folder that the rule's file is in, and a slash.
  base: string;
  negated: boolean;
  foldersOnly: boolean;
}

const never = new Set([".git", "node_modules", ".slipway", ".DS_Store"]);

// Ignore collects rules, those of outer folders first.
export class Ignore {
  #rules: Rule[] = [];

  // add takes the .gitignore of a folder; "" is the top.
  add(folder: string, text: string) {
    for (const raw of text.split(/\r?\n/)) {
      const rule = parse(folder, raw);
      if (rule) this.#rules.push(rule);
    }
  }

  // skips says whether a path stays behind. Ask for each folder on the way first:
  // nothing in a folder that stays behind can come along.
  skips(path: string, isFolder: boolean): boolean {
    if (never.has(path.slice(path.lastIndexOf("/") + 1))) return true;
    let skipped = false;
    for (const rule of this.#rules) {
      if ((rule.foldersOnly && !isFolder) || !path.startsWith(rule.base)) continue;
      if (matches(rule.parts, path.slice(rule.base.length).split("/"))) skipped = !rule.negated;
    }
    return skipped;
  }
}

function parse(folder: string, raw: string): Rule | undefined {
  let line = raw.replace(/\\ +$/, "\\ ").replace(/([^\\ \t])[ \t]+$/, "$1");
  if (line.trim() === "" || line.startsWith("#")) return undefined;
  const negated = line.startsWith("!");
  if (negated) line = line.slice(1);
  const foldersOnly = line.endsWith("/");
  if (foldersOnly) line = line.slice(0, -1);
  if (line === "") return undefined;
  const parts = line.replace(/^\//, "").split("/");
  if (!line.includes("/")) parts.unshift("**");
  return { parts, base: folder === "" ? "" : folder + "/", negated, foldersOnly };
}

// matches goes over both once: what comes after a wildcard is tried further on, and
// of several wildcards only the last has to be tried again.
function matches(pattern: string[], path: string[]): boolean {
  let p = 0;
  let retry = -1;
  let from = 0;
  for (let i = 0; i < path.length; ) {
    if (pattern[p] === "**") {
      // At the end it stands for what is in a folder, not for the folder.
      if (p === pattern.length - 1) return true;
      retry = p++;
      from = i;
    } else if (p < pattern.length && matchesPart(pattern[p]!, path[i]!)) {
      p++;
      i++;
    } else if (retry >= 0) {
      p = retry + 1;
      i = ++from;
    } else {
      return false;
    }
  }
  return p === pattern.length;
}

// matchesPart is the same with the characters of one name.
function matchesPart(pattern: string, name: string): boolean {
  let p = 0;
  let retry = -1;
  let from = 0;
  for (let i = 0; i < name.length; ) {
    if (pattern[p] === "*") {
      retry = p++;
      from = i;
      continue;
    }
    const step = p < pattern.length ? matchesOne(pattern, p, name[i]!) : 0;
    if (step > 0) {
      p += step;
      i++;
    } else if (retry >= 0) {
      p = retry + 1;
      i = ++from;
    } else {
      return false;
    }
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}

// matchesOne says how much of the pattern stands for a character; 0 when it does not.
function matchesOne(pattern: string, at: number, c: string): number {
  switch (pattern[at]) {
    case "?":
      return 1;
    case "\\":
      return pattern[at + 1] === c ? 2 : 0;
    case "[": {
      const end = pattern.indexOf("]", at + (/^\[[!^]?\]/.test(pattern.slice(at, at + 3)) ? 3 : 2));
      if (end < 0) return c === "[" ? 1 : 0;
      const negated = pattern[at + 1] === "!" || pattern[at + 1] === "^";
      const set = pattern.slice(at + (negated ? 2 : 1), end);
      return inSet(set, c) !== negated ? end - at + 1 : 0;
    }
    default:
      return pattern[at] === c ? 1 : 0;
  }
}

function inSet(set: string, c: string): boolean {
  for (let i = 0; i < set.length; i++) {
    if (set[i + 1] === "-" && i + 2 < set.length) {
      if (set[i]! <= c && c <= set[i + 2]!) return true;
      i += 2;
    } else if (set[i] === c) {
      return true;
    }
  }
  return false;
}
