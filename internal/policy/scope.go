package policy

import (
	"path"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
)

// scope sets other levels for some namespaces and Applications.
type scope struct {
	name     string
	selector selector
	levels   map[string]mizzen.Level
}

// selector selects by globs. An empty list selects all; both must select.
type selector struct {
	namespaces   []string
	applications []string
}

// touched is where something happens. A nil list means that it is not known, or
// that it is everywhere.
type touched struct {
	namespaces   []string
	applications []string
}

// answer is what a selector says of something that may be only half known.
type answer int

const (
	no answer = iota
	perhaps
	yes
)

// level returns the strictest level that a guardrail has at any of the places a
// hit touches. Of scopes that select a place the last one counts. Where it is
// not known whether a scope selects, it can only make the level stricter.
func (p *Policy) level(name string, h hit) mizzen.Level {
	strictest := mizzen.LevelOff
	for _, at := range h.at.each() {
		level := p.levels[name]
		for _, s := range p.scopes {
			own, ok := s.levels[name]
			if !ok {
				continue
			}
			switch s.selector.selects(at) {
			case yes:
				level = own
			case perhaps:
				level = level.Stricter(own)
			case no:
			}
		}
		strictest = strictest.Stricter(level)
	}
	return strictest
}

// each returns the combinations, of at most one namespace and one Application.
func (t touched) each() []touched {
	namespaces, applications := [][]string{nil}, [][]string{nil}
	if t.namespaces != nil {
		namespaces = slices.Collect(slices.Chunk(t.namespaces, 1))
	}
	if t.applications != nil {
		applications = slices.Collect(slices.Chunk(t.applications, 1))
	}
	out := make([]touched, 0, len(namespaces)*len(applications))
	for _, n := range namespaces {
		for _, a := range applications {
			out = append(out, touched{n, a})
		}
	}
	return out
}

// selects tells whether any of the places is selected.
func (s selector) selects(t touched) answer {
	return min(
		selectsAny(s.namespaces, t.namespaces, matchNamespace),
		selectsAny(s.applications, t.applications, matchApplication),
	)
}

func selectsAny[T any](globs []string, of []T, match func(glob string, one T) bool) answer {
	if len(globs) == 0 {
		return yes
	}
	if of == nil {
		return perhaps
	}
	for _, one := range of {
		if slices.ContainsFunc(globs, func(glob string) bool { return match(glob, one) }) {
			return yes
		}
	}
	return no
}

func matchNamespace(glob, namespace string) bool {
	ok, err := path.Match(glob, namespace)
	return ok && err == nil
}

// matchApplication matches the whole name, such as namespace/name, or only what
// follows the last slash for a glob without one.
func matchApplication(glob, app string) bool {
	if !strings.Contains(glob, "/") {
		app = path.Base(app)
	}
	ok, err := path.Match(glob, app)
	return ok && err == nil
}
