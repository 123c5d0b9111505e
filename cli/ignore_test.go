package cli

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ignoreCase is a .gitignore in the root, perhaps others below, and paths.
type ignoreCase struct {
	name   string
	ignore map[string]string
	files  []string
}

func ignoreCases() []ignoreCase {
	root := func(text string) map[string]string { return map[string]string{"": text} }
	return []ignoreCase{
		{"name at any depth", root("debug.log"), []string{"debug.log", "a/debug.log", "a/b/debug.log", "debug.log.txt"}},
		{"star stays in a segment", root("*.log\na/*/z"), []string{"x.log", "a/x.log", ".log", "a/b/z", "a/b/c/z", "log"}},
		{"leading slash anchors", root("/build"), []string{"build/x", "a/build/x"}},
		{"inner slash anchors", root("a/build"), []string{"a/build", "b/a/build"}},
		{"trailing slash means folder", root("dist/"), []string{"dist/x", "a/dist/x", "b/dist"}},
		{"anchored folder", root("/out/"), []string{"out/x", "a/out/x"}},
		{"negation", root("*.log\n!keep.log"), []string{"a.log", "keep.log", "d/keep.log"}},
		{"last match wins", root("!a.log\n*.log"), []string{"a.log"}},
		{"nothing comes back below an excluded folder", root("dist/\n!dist/keep"), []string{"dist/keep", "dist/other"}},
		{"all but one", root("/*\n!/src\n/src/*\n!/src/app"), []string{"a", "src/b", "src/app/x", "c/d"}},
		{"double star in front", root("**/tmp"), []string{"tmp", "a/tmp", "a/b/tmp", "atmp"}},
		{"double star behind", root("abc/**"), []string{"abc/x", "abc/d/y", "x/abc/z", "abcd"}},
		{"double star between", root("a/**/b"), []string{"a/b", "a/x/b", "a/x/y/b", "ab", "a/xb"}},
		{"double star in a word", root("foo**bar\n/x**y/z"), []string{"foobar", "foo-bar", "a/foo/bar", "xay/z", "xa/by/z"}},
		{"three stars", root("a/***/b"), []string{"a/b", "a/x/y/b"}},
		{"stars behind a letter, which git does let span folders", root("foo**/bar\n/b***/**[!a]\n/\\q**/r"), []string{"foo/x/bar", "foox/bar", "b/x/y/-", "b/x/y/a", "qx/r", "q/x/r"}},
		{"question mark", root("?.txt\nx/a?b"), []string{"a.txt", "ab.txt", "é.txt", "x/a-b", "x/a/b"}},
		{"class", root("[abc].txt\nf[0-9].c"), []string{"a.txt", "d.txt", "f5.c", "fx.c"}},
		{"negated class", root("[!a].txt\n[^b].md"), []string{"a.txt", "b.txt", "a.md", "b.md"}},
		{"class with a bracket", root("[]x].txt\n[x-].md\n[a-c-e].c"), []string{"].txt", "x.txt", "-.md", "b.c", "-.c", "d.c", "e.c"}},
		{"class never matches a slash", root("a[/x]b\nc[!q]d"), []string{"a/b", "axb", "c/d", "ced"}},
		{"class with escapes", root(`[\]].txt` + "\n" + `[a\-z].md`), []string{"].txt", "-.md", "b.md", "z.md"}},
		{"named classes", root("[[:digit:]].txt\n[[:upper:]x]\n[[:nope:]]"), []string{"5.txt", "a.txt", "Q", "x", "n", "q"}},
		{"class that does not close", root("[abc\n[[:digit:]"), []string{"[abc", "a", "5"}},
		{"comment and escape", root("#x\n\\#y\n\\!z"), []string{"#x", "x", "#y", "!z", "z"}},
		{"escaped star", root(`\*.txt`), []string{"*.txt", "a.txt"}},
		{"backslash at the end", root("foo\\"), []string{"foo", "bar"}},
		{"trailing blanks", root("a.txt  \nb.txt\\ \nc.txt\\  "), []string{"a.txt", "b.txt", "b.txt ", "c.txt "}},
		{"leading blank counts", root(" a"), []string{"a", " a"}},
		{"trailing tab counts", root("a\t"), []string{"a"}},
		{"CRLF", root("a.txt\r\ndist/\r\n!b\r\n"), []string{"a.txt", "dist/x", "b"}},
		{"byte order mark", root("\ufeffa.txt\nb.txt"), []string{"a.txt", "b.txt"}},
		{"only negation and slashes", root("!\n/\n//\n \n"), []string{"a", "b/c"}},
		{"slash star", root("a/*"), []string{"a/b", "a/c/d", "x/a/b"}},
		{"folder pattern with slash", root("a/b/"), []string{"a/b/c", "x/a/b/c", "a/b2"}},
		{"deeper file overrides", map[string]string{"": "*.txt", "a": "!x.txt"}, []string{"x.txt", "a/x.txt", "a/b/x.txt", "a/y.txt"}},
		{"deeper file anchors at itself", map[string]string{"a": "/x\nb/y"}, []string{"x", "a/x", "a/c/x", "a/b/y", "a/c/b/y", "b/y"}},
		{"deeper file excludes", map[string]string{"": "!*.txt", "a/b": "*"}, []string{"a/x.txt", "a/b/x.txt", "a/b/c/y"}},
		{"letters of two bytes", root("ä*.txt\n[ö].md"), []string{"äb.txt", "ö.md", "b.md"}},
		{"dots", root(".*\n!.keep"), []string{".env", ".keep", "a/.x/y", "b"}},
	}
}

// listed walks a folder as a deployment does and gives the paths it keeps.
func listed(t *testing.T, folder string) []string {
	t.Helper()
	source, err := Scan(t.Context(), folder, DefaultLimits())
	if err != nil {
		require.ErrorContains(t, err, "holds no files")
		return nil
	}
	defer source.Close()
	var paths []string
	for _, file := range source.Files {
		paths = append(paths, file.Path)
	}
	return paths
}

// gitLists gives the paths git itself would add.
func gitLists(t *testing.T, folder string) []string {
	t.Helper()
	command := exec.Command("git", "-c", "core.excludesFile=/dev/null", "-c", "core.quotePath=false", "ls-files", "-z", "--others", "--exclude-standard")
	command.Dir = folder
	command.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := command.Output()
	require.NoError(t, err)
	paths := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if paths[0] == "" {
		return nil
	}
	sort.Strings(paths)
	return paths
}

func plant(t testing.TB, c ignoreCase) string {
	t.Helper()
	folder := t.TempDir()
	for at, text := range c.ignore {
		writeFile(t, filepath.Join(folder, at, ".gitignore"), text)
	}
	for _, file := range c.files {
		writeFile(t, filepath.Join(folder, file), file)
	}
	makeRepository(t, folder)
	return folder
}

// makeRepository does what matters here of `git init`, in no time.
func makeRepository(t testing.TB, folder string) {
	t.Helper()
	for _, name := range []string{"objects", "refs"} {
		require.NoError(t, os.MkdirAll(filepath.Join(folder, ".git", name), 0o755))
	}
	writeFile(t, filepath.Join(folder, ".git", "HEAD"), "ref: refs/heads/main\n")
}

func writeFile(t testing.TB, name, content string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
	require.NoError(t, os.WriteFile(name, []byte(content), 0o644))
}

func needGit(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("git, the oracle of these tests, is not installed")
		}
		t.Skip("git, the oracle of these tests, is not installed")
	}
}

func TestIgnore_keepsWhatGitKeeps(t *testing.T) {
	needGit(t)
	for _, c := range ignoreCases() {
		t.Run(c.name, func(t *testing.T) {
			folder := plant(t, c)
			require.Equal(t, gitLists(t, folder), listed(t, folder))
		})
	}
}

// FuzzIgnore_keepsWhatGitKeeps makes .gitignore files out of a seed. The seeds
// here are always the same ones; -fuzz looks for others.
func FuzzIgnore_keepsWhatGitKeeps(f *testing.F) {
	needGit(f)
	for seed := range uint64(10) {
		f.Add(seed)
	}
	pieces := []string{"a", "b", "a", "*", "**", "?", "/", "/", "[ab]", "[!a]", `\a`, ".", "!", " ", "***", "[", "]", "-", "ä"}
	names := []string{"a", "b", "ab", "a.b", "ba", "é", "[", "-", "äa"}
	var files []string
	for _, one := range names {
		for _, two := range names {
			files = append(files, path.Join("a", "b", one, two), path.Join("x"+one, "y"+two), path.Join("b", one, two))
		}
	}
	folder := plant(f, ignoreCase{files: files})
	f.Fuzz(func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		for range 4 {
			ignore := map[string]string{}
			for _, at := range []string{"", "a", "a/b"} {
				var text strings.Builder
				for range 1 + random.IntN(5) {
					for range 1 + random.IntN(6) {
						text.WriteString(pieces[random.IntN(len(pieces))])
					}
					text.WriteByte('\n')
				}
				ignore[at] = text.String()
				writeFile(t, filepath.Join(folder, at, ".gitignore"), text.String())
			}
			if want, got := gitLists(t, folder), listed(t, folder); !slices.Equal(want, got) {
				t.Fatalf("git and we differ for %q:\n%v", ignore, difference(want, got))
			}
		}
	})
}

// difference names what only one of the two has.
func difference(want, got []string) []string {
	in := func(list []string, s string) bool {
		i := sort.SearchStrings(list, s)
		return i < len(list) && list[i] == s
	}
	var out []string
	for _, s := range want {
		if !in(got, s) {
			out = append(out, "only git keeps "+s)
		}
	}
	for _, s := range got {
		if !in(want, s) {
			out = append(out, "only we keep "+s)
		}
	}
	return out
}

func TestWildmatch_ofManyStarsIsQuick(t *testing.T) {
	pattern := strings.Repeat("a*", 60) + "b"
	require.False(t, wildmatch(pattern, strings.Repeat("a", 250)))
	require.False(t, wildmatch(strings.Repeat("**/", 60)+"b", strings.Repeat("a/", 120)+"a"))
}

func FuzzParseIgnore(f *testing.F) {
	for _, c := range ignoreCases() {
		f.Add(c.ignore[""], path.Join("a", c.files[0]), true)
	}
	f.Fuzz(func(t *testing.T, text, name string, folder bool) {
		file := parseIgnore("", text)
		for _, rule := range file.rules {
			if rule.pattern == "" && !rule.anchored {
				t.Fatalf("a rule without a pattern from %q", text)
			}
		}
		if len(text) > 4096 || len(name) > 1024 {
			return
		}
		first, decided := file.decides(name, folder)
		// A comment and a blank line change nothing.
		again, decidedAgain := parseIgnore("", "# x\n\n"+text).decides(name, folder)
		if !bytes.HasPrefix([]byte(text), []byte("\ufeff")) && (first != again || decided != decidedAgain) {
			t.Fatalf("%q decides differently about %q behind a comment", text, name)
		}
	})
}
