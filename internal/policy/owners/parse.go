package owners

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// parser collects the entries of a file.
type parser struct {
	file    *File
	byName  map[string]*section
	current *section
	// defaults are the owners of the heading above.
	defaults []string
}

func (p *parser) problem(line int, format string, args ...any) {
	p.file.Problems = append(p.file.Problems, Problem{Line: line, Message: fmt.Sprintf(format, args...)})
}

// section returns the section of a name, whose case does not count. Sections of
// one name are one: optional if all are, with the highest count.
func (p *parser) section(name string, required int, optional bool) *section {
	key := strings.ToLower(name)
	s := p.byName[key]
	if s == nil {
		s = &section{name: name, required: required, optional: optional}
		p.byName[key] = s
		p.file.sections = append(p.file.sections, s)
		return s
	}
	s.required = max(s.required, required)
	s.optional = s.optional && optional
	return s
}

func (p *parser) add(line int, pattern glob, owners []string, exclude bool) {
	if len(owners) > maxOwners {
		p.problem(line, "only the first %d owners are used", maxOwners)
		owners = owners[:maxOwners]
	}
	p.current.entries = append(p.current.entries, entry{pattern: pattern, owners: owners, exclude: exclude, line: line})
}

// gitHub parses a line of GitHub's syntax. There is no escaping, no negation
// and no set of characters; a line with any of them is skipped.
func (p *parser) gitHub(number int, line string) {
	// A comment may follow the owners.
	if at := strings.Index(line, " #"); at >= 0 {
		line = line[:at]
	}
	fields := strings.Fields(line)
	pattern := fields[0]
	switch {
	case len(pattern) > maxPattern:
		p.problem(number, "the pattern is longer than %d bytes", maxPattern)
		return
	case strings.HasPrefix(pattern, "!"), strings.ContainsAny(pattern, `[]\`):
		p.problem(number, "GitHub skips the line: patterns know neither !, nor [ ], nor backslashes")
		return
	}
	var owners []string
	for _, f := range fields[1:] {
		if !isOwner(f) {
			// GitHub skips the whole line: a typo must not leave half of its owners.
			p.problem(number, "GitHub skips the line: %q is no @user, @org/team or address", f)
			return
		}
		owners = append(owners, f)
	}
	p.add(number, gitHubGlob(pattern), unique(owners), false)
}

// gitLab parses a line of GitLab's syntax: a heading, an exclusion or an entry.
func (p *parser) gitLab(number int, line string) {
	if h, ok := parseHeading(line); ok {
		if h.count < 1 {
			p.problem(number, "the section asks for fewer than 1 approval; GitLab takes 1")
			h.count = 1
		}
		p.current = p.section(h.name, h.count, h.optional)
		p.defaults = ownersIn(strings.Fields(h.rest))
		return
	}
	exclude := strings.HasPrefix(line, "!")
	pattern, rest := cutPattern(strings.TrimPrefix(line, "!"))
	if pattern == "" || len(pattern) > maxPattern {
		p.problem(number, "the pattern is empty or longer than %d bytes", maxPattern)
		return
	}
	owners := ownersIn(strings.Fields(rest))
	if len(owners) == 0 {
		owners = p.defaults
	}
	if len(owners) == 0 && !exclude {
		p.problem(number, "the entry has no owner, so that nobody is asked")
	}
	p.add(number, gitLabGlob(pattern), owners, exclude)
}

// heading is a section heading: ^[Name][2] @default.
type heading struct {
	name     string
	count    int
	optional bool
	rest     string
}

// parseHeading reads a heading; ok is false for any other line, and for a
// broken heading, which GitLab takes for an entry.
func parseHeading(line string) (h heading, ok bool) {
	h.count = 1
	line, h.optional = strings.CutPrefix(line, "^")
	line, ok = strings.CutPrefix(line, "[")
	if !ok {
		return h, false
	}
	name, rest, found := strings.Cut(line, "]")
	h.name = strings.TrimSpace(name)
	if !found || h.name == "" {
		return h, false
	}
	if inner, counted := strings.CutPrefix(rest, "["); counted {
		digits, after, closed := strings.Cut(inner, "]")
		n, err := strconv.Atoi(digits)
		if !closed || err != nil {
			return h, false
		}
		h.count, rest = n, after
	}
	if rest != "" && rest[0] != ' ' && rest[0] != '\t' {
		return h, false
	}
	h.rest = rest
	return h, true
}

// cutPattern ends the pattern at the first blank that is not escaped. Escapes
// stay, since the pattern reads them.
func cutPattern(line string) (pattern, rest string) {
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '\\':
			i++
		case ' ', '\t':
			return line[:i], line[i:]
		}
	}
	return line, ""
}

// isOwner tells whether a word has the form of an owner.
func isOwner(word string) bool {
	if name, ok := strings.CutPrefix(word, "@"); ok {
		return strings.Trim(name, "@/") != ""
	}
	at := strings.IndexByte(word, '@')
	return at > 0 && at < len(word)-1
}

// ownersIn picks the owners out of the words of a line. GitLab ignores the
// others, those of a comment among them.
func ownersIn(words []string) []string {
	var owners []string
	for _, w := range words {
		if isOwner(w) {
			owners = append(owners, w)
		}
	}
	return unique(owners)
}

// unique removes repetitions and keeps the order.
func unique(list []string) []string {
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(s string) bool {
		if seen[s] {
			return true
		}
		seen[s] = true
		return false
	})
}
