// What stays behind when a folder is deployed: .git, node_modules, .slipway, and what
// .gitignore files name (https://git-scm.com/docs/gitignore), as `slipway deploy` has it.

interface Rule {
  test: RegExp;
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
      if (rule.foldersOnly && !isFolder) continue;
      if (rule.test.test(path)) skipped = !rule.negated;
    }
    return skipped;
  }
}

function parse(folder: string, raw: string): Rule | undefined {
  let line = raw.replace(/(?<!\\)\s+$/, "");
  if (line === "" || line.startsWith("#")) return undefined;
  const negated = line.startsWith("!");
  if (negated) line = line.slice(1);
  const foldersOnly = line.endsWith("/");
  if (foldersOnly) line = line.slice(0, -1);
  if (line === "") return undefined;
  const anchored = line.includes("/");
  const base = folder === "" ? "" : escape(folder) + "/";
  try {
    const test = new RegExp("^" + base + (anchored ? "" : "(?:.*/)?") + translate(line.replace(/^\//, "")) + "$");
    return { test, negated, foldersOnly };
  } catch {
    return undefined;
  }
}

const escape = (text: string) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");

// translate makes a regular expression of a pattern.
function translate(pattern: string): string {
  let out = "";
  for (let i = 0; i < pattern.length; i++) {
    const rest = pattern.slice(i);
    const c = pattern[i]!;
    if (rest.startsWith("**/") && (i === 0 || pattern[i - 1] === "/")) {
      out += "(?:.*/)?";
      i += 2;
    } else if (rest === "**" && (i === 0 || pattern[i - 1] === "/")) {
      out += ".+";
      i += 1;
    } else if (c === "*") {
      while (pattern[i + 1] === "*") i++;
      out += "[^/]*";
    } else if (c === "?") {
      out += "[^/]";
    } else if (c === "\\" && i + 1 < pattern.length) {
      out += escape(pattern[++i]!);
    } else if (c === "[") {
      const set = /^\[([!^]?)(\]?[^\]]*)\]/.exec(rest);
      if (!set) {
        out += "\\[";
      } else {
        out += `[${set[1] ? "^/" : ""}${set[2]!.replace(/[\\\]^]/g, "\\$&")}]`;
        i += set[0].length - 1;
      }
    } else {
      out += escape(c);
    }
  }
  return out;
}
