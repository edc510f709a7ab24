package owners

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
)

// say writes groups as "Section:2?[@a @b]": the count where it is not 1, and ?
// for an optional group.
func say(groups []Group) string {
	var parts []string
	for _, g := range groups {
		text := g.Section
		if g.Required != 1 {
			text += ":" + string(rune('0'+g.Required))
		}
		if g.Optional {
			text += "?"
		}
		parts = append(parts, text+"["+strings.Join(g.Owners, " ")+"]")
	}
	return strings.Join(parts, " ")
}

func parse(t *testing.T, text string, d Dialect) *File {
	t.Helper()
	f, err := Parse("CODEOWNERS", []byte(text), d)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestGitHub(t *testing.T) {
	// The file of GitHub's documentation, and what it says of it.
	f := parse(t, `
*       @global-owner1 @global-owner2
*.js    @js-owner #This is an inline comment.
*.go docs@example.com
*.txt @octo-org/octocats
/build/logs/ @doctocat
docs/* docs@example.com
apps/ @octocat
/docs/ @doctocat
/scripts/ @doctocat @octocat
**/logs @octocat
/apps2/ @octocat
/apps2/github
`, GitHub)
	for path, want := range map[string]string{
		"README.md":             "[@global-owner1 @global-owner2]",
		"a/b.js":                "[@js-owner]",
		"main.go":               "[docs@example.com]",
		"build/logs/x":          "[@octocat]",
		"x/build/logs2/y":       "[@global-owner1 @global-owner2]",
		"docs/a":                "[@doctocat]",
		"x/docs/a":              "[@global-owner1 @global-owner2]",
		"x/apps/deep/file":      "[@octocat]",
		"scripts/a/b":           "[@doctocat @octocat]",
		"deeply/nested/logs/a":  "[@octocat]",
		"logs":                  "[@octocat]",
		"apps2/x":               "[@octocat]",
		"apps2/github":          "",
		"apps2/github/workflow": "",
	} {
		if got := say(f.Owners(path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestGitHubPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"*", "a/b/c", true},
		{"*", ".hidden", true},
		{"/*", "a", true},
		{"/*", "a/b", false},
		{"docs/*", "docs/a.md", true},
		{"docs/*", "docs/build/a.md", false},
		{"docs/*", "x/docs/a.md", false},
		{"docs/**", "docs/build/a.md", true},
		{"docs", "x/docs/a", true},
		{"docs", "docs", true},
		{"docs/", "docs", false},
		{"/docs", "docs/a/b", true},
		{"/docs", "x/docs", false},
		{"a/**/z", "a/z", true},
		{"a/**/z", "a/b/c/z/d", true},
		{"a/**/z", "a/b/c", false},
		{"foo*bar?", "foo12bar3", true},
		{"foo*bar?", "foo12bar", false},
		{"*.YAML", "a.yaml", false},
		{"**", "x", true},
		{"/", "x", true},
	} {
		got := gitHubGlob(c.pattern).match(strings.Split(c.path, "/"))
		if got != c.want {
			t.Errorf("%s on %s: %v, want %v", c.pattern, c.path, got, c.want)
		}
	}
}

func TestGitLabPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"README.md", "app/lib/README.md", true},
		{"internal/README.md", "docs/api/internal/README.md", true},
		{"/README.md", "docs/README.md", false},
		{"/docs/", "docs/a/b", true},
		{"/docs/", "docs", false},
		{"/docs", "docs/a", false},
		{"/docs/*.md", "docs/a.md", true},
		{"/docs/*.md", "docs/a/b.md", false},
		{"/docs/index.*", "docs/index.html", true},
		{"/docs/*spec*", "docs/qa_specs.rb", true},
		{"/docs/*/README.md", "docs/api/README.md", true},
		{"/docs/**/index.md", "docs/index.md", true},
		{"/docs/**/index.md", "docs/api/graphql/index.md", true},
		{"*", "a/.b/c", true},
		{`path\ with\ spaces/`, "x/path with spaces/a", true},
		{`\#file`, "#file", true},
		{"/docs/**", "docs/a", true},
		{"/docs/**", "docs/a/b", false},
		{"**", "a/b", true},
		{"/", "a/b", true},
		{"[ab]?.txt", "b1.txt", true},
		{"[^ab].txt", "a.txt", false},
		{"[a-c].txt", "b.txt", true},
		{"[a.txt", "[a.txt", true},
		{"ä*ö", "äüö", true},
	} {
		got := gitLabGlob(c.pattern).match(strings.Split(c.path, "/"))
		if got != c.want {
			t.Errorf("%s on %s: %v, want %v", c.pattern, c.path, got, c.want)
		}
	}
}

func TestGitLab(t *testing.T) {
	f := parse(t, `
* @admin
!pom.xml

[README Owners]
README.md @user1 @user2
internal/README.md @user4

^[Go]
*.go @gophers # and @also

[Database][2] @database-team @agarcia
model/db/
config/db/setup.md @docs-team

[Ruby]
*.rb @ruby-team
!/config/**/*.rb
/config/routes.rb @ops

[DATABASE] @other
db/ @@maintainer
`, GitLab)
	for path, want := range map[string]string{
		"README.md":          "[@admin] README Owners[@user1 @user2]",
		"internal/README.md": "[@admin] README Owners[@user4]",
		"pom.xml":            "",
		"main.go":            "[@admin] Go?[@gophers @also]",
		"model/db/x":         "[@admin] Database:2[@@maintainer]",
		"model/db2/x":        "[@admin]",
		"config/db/setup.md": "[@admin] Database:2[@@maintainer]",
		"lib/a.rb":           "[@admin] Ruby[@ruby-team]",
		"config/routes.rb":   "[@admin]",
	} {
		if got := say(f.Owners(path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestGitLabDefaults(t *testing.T) {
	f := parse(t, "[Docs][2] @docs\nguide/\nguide/api.md @api\n[Docs]\nother.md\n", Auto)
	if f.Dialect != GitLab {
		t.Fatalf("dialect %s", f.Dialect)
	}
	for path, want := range map[string]string{
		"guide/a":      "Docs:2[@docs]",
		"guide/api.md": "Docs:2[@api]",
		// The second heading of the section has no owners of its own.
		"other.md": "",
	} {
		if got := say(f.Owners(path)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestProblems(t *testing.T) {
	github := parse(t, "!a @x\n[ab] @x\nb @ok nobody\nc\nd @ok\n", GitHub)
	gitlab := parse(t, "[S][0] @x\na\n[broken @y\n[T]\nb\n", GitLab)
	lines := func(f *File) (out []int) {
		for _, p := range f.Problems {
			out = append(out, p.Line)
		}
		return out
	}
	if diff := cmp.Diff([]int{1, 2, 3}, lines(github)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{1, 5}, lines(gitlab)); diff != "" {
		t.Error(diff)
	}
	if got := say(github.Owners("b")); got != "" {
		t.Errorf("a line that GitHub skips owns b: %s", got)
	}
}

func TestFind(t *testing.T) {
	files := fstest.MapFS{
		"CODEOWNERS":         {Data: []byte("* @root\n")},
		"docs/CODEOWNERS":    {Data: []byte("* @docs\n")},
		".github/CODEOWNERS": {Data: []byte("* @github\n")},
		".gitlab/CODEOWNERS": {Data: []byte("[S]\n* @gitlab\n")},
	}
	for _, c := range []struct {
		dialect Dialect
		without []string
		want    string
	}{
		{Auto, nil, "[@github]"},
		{GitHub, nil, "[@github]"},
		{GitLab, nil, "[@root]"},
		{GitLab, []string{"CODEOWNERS", "docs/CODEOWNERS"}, "S[@gitlab]"},
		{GitHub, []string{".github/CODEOWNERS", "CODEOWNERS"}, "[@docs]"},
		{Auto, []string{".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"}, "S[@gitlab]"},
		{GitHub, []string{".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"}, ""},
	} {
		left := fstest.MapFS{}
		for name, f := range files {
			left[name] = f
		}
		for _, name := range c.without {
			delete(left, name)
		}
		f, err := Find(left, c.dialect)
		if err != nil {
			t.Fatal(err)
		}
		if got := say(f.Owners("x")); got != c.want {
			t.Errorf("%s without %v: %s, want %s", c.dialect, c.without, got, c.want)
		}
	}
}

func TestTooLarge(t *testing.T) {
	for _, text := range []string{strings.Repeat("a", maxFile+1), strings.Repeat("\n", maxLines+1)} {
		if _, err := Parse("CODEOWNERS", []byte(text), GitHub); mizzen.KindOf(err) != mizzen.TooLarge {
			t.Errorf("%d bytes: %v", len(text), err)
		}
	}
}

func FuzzOwners(f *testing.F) {
	f.Add("* @a\n[S][2] @b\n*.go\n!x\n", "a/b.go")
	f.Add("a*a*a*a*a*b/**/**/c*d*e @x", strings.Repeat("a", 200)+"/c")
	f.Add(`[a-\]x[^] @x`, "[a")
	f.Fuzz(func(t *testing.T, text, path string) {
		for _, d := range []Dialect{GitHub, GitLab, Auto} {
			file, err := Parse("CODEOWNERS", []byte(text), d)
			if err != nil {
				continue
			}
			for _, g := range file.Owners(path) {
				if g.Required < 1 || len(g.Owners) == 0 || len(g.Owners) > maxOwners {
					t.Errorf("%s: group %+v", d, g)
				}
			}
		}
	})
}
