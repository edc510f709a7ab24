package discover

import (
	"path"
	"regexp"
	"strings"
)

// Area is a part of a repository: directories with all that is below them, and
// files. The zero Area is nothing.
type Area struct {
	include, exclude []*regexp.Regexp
	// anywhere: where it is only the cluster knows.
	anywhere bool
}

// Anywhere is an Area that may be any part of the repository.
func Anywhere() Area { return Area{anywhere: true} }

// Anywhere tells whether the Area may be any part of the repository.
func (a Area) Anywhere() bool { return a.anywhere }

// Empty tells whether nothing can be in the Area.
func (a Area) Empty() bool { return len(a.include) == 0 && !a.anywhere }

// Has tells whether a file is in the Area, and may be a part of what is deployed:
// prose is not. One that may be anywhere has all that looks like a manifest or a
// part of a chart, and is not hidden.
func (a Area) Has(file string) bool {
	switch {
	case a.anywhere:
		return looksRendered(file)
	case path.Ext(file) == prose:
		return false
	}
	return matchesAny(a.include, file) && !matchesAny(a.exclude, file)
}

// prose is the extension of what is written for people.
const prose = ".md"

// looksRendered tells whether tools may make objects of a file: by its extension,
// and unless it is hidden.
func looksRendered(file string) bool {
	switch path.Ext(file) {
	case ".yaml", ".yml", ".json", ".tpl", ".jsonnet", ".libsonnet":
		return !strings.HasPrefix(file, ".") && !strings.Contains(file, "/.")
	}
	return false
}

func matchesAny(patterns []*regexp.Regexp, file string) bool {
	for _, p := range patterns {
		if p.MatchString(file) {
			return true
		}
	}
	return false
}

// directories adds what is below the directories of a pattern.
func (a *Area) directories(pattern string) {
	if pattern = clean(pattern); pattern == "." {
		pattern = "**"
	} else {
		pattern += "/**"
	}
	a.include = append(a.include, glob(pattern))
}

// files adds the files of a pattern.
func (a *Area) files(pattern string) { a.include = append(a.include, glob(clean(pattern))) }

// without takes away what is below the directories of a pattern.
func (a *Area) without(pattern string) { a.exclude = append(a.exclude, glob(clean(pattern)+"/**")) }

// wild are the parts of a pattern that stand for something else: what a template
// makes of its parameters may hold slashes.
var wild = regexp.MustCompile(`\{\{.*?\}\}|\*\*/?|\*|\?`)

// glob compiles a pattern of a shell, with ** for any directories, in which
// templates stand for anything.
func glob(pattern string) *regexp.Regexp {
	var b strings.Builder
	end := 0
	for _, at := range wild.FindAllStringIndex(pattern, -1) {
		b.WriteString(regexp.QuoteMeta(pattern[end:at[0]]))
		switch text := pattern[at[0]:at[1]]; text {
		case "*":
			b.WriteString(`[^/]*`)
		case "?":
			b.WriteString(`[^/]`)
		default:
			b.WriteString(`.*`)
		}
		end = at[1]
	}
	b.WriteString(regexp.QuoteMeta(pattern[end:]))
	return regexp.MustCompile("^" + b.String() + "$")
}

// templated tells whether the cluster fills something in.
func templated(s string) bool { return strings.Contains(s, "{{") }
