// Package owners reads CODEOWNERS files and says who owns a path. A file of
// GitHub's or of GitLab's syntax comes in, groups of owners go out: of GitHub
// at most one, of GitLab one for each section that speaks for the path.
//
// The file comes from a repository, so its size, its lines and the work of a
// match are bounded. What a forge ignores is ignored here too and told as a
// Problem, since a line that nobody reads protects nothing.
package owners

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"mizzen.dev/mizzen"
)

// Limits of a file. GitHub ignores a file above 3 MiB.
const (
	maxFile    = 3 << 20
	maxLines   = 50_000
	maxPattern = 1024
	maxOwners  = 100
)

// Dialect is whose syntax a file has.
type Dialect string

// The dialects.
const (
	GitHub Dialect = "github"
	GitLab Dialect = "gitlab"
	// Auto takes a file below .gitlab/, or with a section or an exclusion, for
	// GitLab's, and any other for GitHub's.
	Auto Dialect = ""
)

// Group is a set of owners, of whom some must approve.
type Group struct {
	// Section is GitLab's; empty for entries without one, and for GitHub.
	Section string `json:"section,omitempty"`
	// Owners are as they are written: @user, @org/team, @@role or an address.
	Owners []string `json:"owners"`
	// Required is how many of them must approve, at least 1.
	Required int `json:"required"`
	// Optional groups are asked, but nothing waits for them.
	Optional bool `json:"optional,omitempty"`
	// Line is the entry that decided.
	Line int `json:"line"`
}

// Problem is a line that the forge ignores, or reads otherwise than it looks.
type Problem struct {
	Line    int
	Message string
}

// File is a parsed CODEOWNERS file. The zero value and nil own nothing.
type File struct {
	// Name is the path that it was read from.
	Name     string
	Dialect  Dialect
	Problems []Problem

	sections []*section
}

// section holds the entries that are judged together.
type section struct {
	name     string
	required int
	optional bool
	entries  []entry
}

type entry struct {
	pattern glob
	owners  []string
	exclude bool
	line    int
}

// locations are where each forge looks, in order; the first that exists counts.
// https://docs.github.com/repositories/managing-your-repositorys-settings-and-features/customizing-your-repository/about-code-owners
// https://docs.gitlab.com/user/project/codeowners/#codeowners-file
var locations = map[Dialect][]string{
	GitHub: {".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"},
	GitLab: {"CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"},
	Auto:   {".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"},
}

// Locations returns where a file of the dialect may be, in the order in which
// the forge looks.
func Locations(d Dialect) []string { return append([]string(nil), locations[d]...) }

// Find reads the file that the forge would read. It is nil if there is none.
// It fails as Parse does, or with the error of files.
func Find(files fs.FS, d Dialect) (*File, error) {
	for _, name := range locations[d] {
		content, err := read(files, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		return Parse(name, content, d)
	}
	return nil, nil
}

func read(files fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(files, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fs.ErrNotExist
	}
	if info.Size() > maxFile {
		return nil, tooLarge(name)
	}
	return fs.ReadFile(files, name)
}

func tooLarge(name string) error {
	return &mizzen.Error{
		Kind: mizzen.TooLarge, Object: name,
		Err:    fmt.Errorf("has more than %d MiB or %d lines", maxFile>>20, maxLines),
		Remedy: "use patterns for directories instead of lists of files",
	}
}

// Parse reads a file. It fails with Kind TooLarge only; a line that cannot be
// understood is a Problem.
func Parse(name string, content []byte, d Dialect) (*File, error) {
	text := string(content)
	if len(text) > maxFile || strings.Count(text, "\n") > maxLines {
		return nil, tooLarge(name)
	}
	if d == Auto {
		d = detect(name, text)
	}
	f := &File{Name: name, Dialect: d}
	p := parser{file: f, byName: map[string]*section{}}
	p.current = p.section("", 1, false)
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if d == GitLab {
			p.gitLab(number, line)
		} else {
			p.gitHub(number, line)
		}
	}
	return f, nil
}

// detect tells the dialects apart by what only GitLab's knows.
func detect(name, text string) Dialect {
	if strings.HasPrefix(name, ".gitlab/") {
		return GitLab
	}
	if strings.HasPrefix(name, ".github/") {
		return GitHub
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "!") {
			return GitLab
		}
		if _, ok := parseHeading(line); ok {
			return GitLab
		}
	}
	return GitHub
}

// Owners returns the groups that own a path of the repository, slash-separated
// and without a leading slash; those of GitLab's unnamed section first, then in
// the order of the file. Groups without owners are left out.
func (f *File) Owners(path string) []Group {
	if f == nil || len(path) > maxPath {
		return nil
	}
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	var groups []Group
	for _, s := range f.sections {
		if e := s.match(segments); e != nil && len(e.owners) > 0 {
			groups = append(groups, Group{
				Section: s.name, Owners: append([]string(nil), e.owners...),
				Required: s.required, Optional: s.optional, Line: e.line,
			})
		}
	}
	return groups
}

// match returns the last entry for a path, nil if none or an exclusion speaks
// for it: what GitLab excludes cannot be included again in the section.
func (s *section) match(path []string) *entry {
	var last *entry
	for i := range s.entries {
		e := &s.entries[i]
		if !e.pattern.match(path) {
			continue
		}
		if e.exclude {
			return nil
		}
		last = e
	}
	return last
}
