package cli

import "strings"

// ignoreRule is one line of a .gitignore file.
type ignoreRule struct {
	pattern string
	// negated: the line began with "!", so a match is included again.
	negated bool
	// folderOnly: the line ended with "/".
	folderOnly bool
	// anchored: the line has a slash before its end, so it is matched against
	// the path from the file's folder rather than against the last segment.
	anchored bool
}

// ignoreFile is a .gitignore file that lies in folder: a slash-separated path
// from the top of the repository, "" for the top itself.
type ignoreFile struct {
	folder string
	rules  []ignoreRule
}

// parseIgnore reads a .gitignore file the way git does: blank lines and lines
// that begin with "#" say nothing, trailing blanks go unless escaped, CRLF
// counts as LF, and a byte order mark is skipped.
func parseIgnore(folder, text string) ignoreFile {
	file := ignoreFile{folder: folder}
	text = strings.TrimPrefix(text, "\ufeff")
	for _, line := range strings.Split(text, "\n") {
		if rule, ok := parseIgnoreLine(strings.TrimSuffix(line, "\r")); ok {
			file.rules = append(file.rules, rule)
		}
	}
	return file
}

func parseIgnoreLine(line string) (ignoreRule, bool) {
	// git keeps lines as C strings: what follows a NUL does not exist.
	line, _, _ = strings.Cut(line, "\x00")
	if strings.HasPrefix(line, "#") {
		return ignoreRule{}, false
	}
	line = trimBlanks(line)
	var rule ignoreRule
	if rest, ok := strings.CutPrefix(line, "!"); ok {
		rule.negated, line = true, rest
	}
	if rest, ok := strings.CutSuffix(line, "/"); ok {
		rule.folderOnly, line = true, rest
	}
	if line == "" {
		return ignoreRule{}, false
	}
	rule.anchored = strings.Contains(line, "/")
	rule.pattern = strings.TrimPrefix(line, "/")
	return rule, true
}

// trimBlanks takes unescaped spaces off the end.
func trimBlanks(line string) string {
	end := len(line)
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
			if end == len(line) {
				end = i
			}
			continue
		case '\\':
			i++
			if i == len(line) {
				return line
			}
		}
		end = len(line)
	}
	return line[:end]
}

// decides says what the file says about a path: whether one of its rules
// matches, and if so whether the last that does excludes the path.
func (f ignoreFile) decides(path string, isFolder bool) (excluded, decided bool) {
	relative := path
	if f.folder != "" {
		var below bool
		if relative, below = strings.CutPrefix(path, f.folder+"/"); !below {
			return false, false
		}
	}
	name := relative[strings.LastIndexByte(relative, '/')+1:]
	for i := len(f.rules) - 1; i >= 0; i-- {
		rule := f.rules[i]
		if rule.folderOnly && !isFolder {
			continue
		}
		subject := name
		if rule.anchored {
			subject = relative
		}
		if wildmatch(rule.pattern, subject) {
			return !rule.negated, true
		}
	}
	return false, false
}

// ignores says whether a path is excluded by the files that apply to it, given
// from the outermost to the innermost; the innermost that decides wins. Whoever
// walks must not descend into an excluded folder: nothing below it can be
// included again.
func ignores(files []ignoreFile, path string, isFolder bool) bool {
	for i := len(files) - 1; i >= 0; i-- {
		if excluded, decided := files[i].decides(path, isFolder); decided {
			return excluded
		}
	}
	return false
}
