package owners

import (
	"strings"
	"unicode/utf8"
)

// maxPath bounds a path that is looked up, in bytes.
const maxPath = 4096

// glob is a pattern of path segments. Neither level backtracks further than to
// its last star, so that a match costs at most the product of the lengths.
type glob struct {
	segments []string
	// below makes the pattern match everything below a match too.
	below bool
	// sets allows [abc] and backslash escapes within a segment.
	sets bool
}

const anyDepth = "**"

// gitHubGlob reads a pattern as .gitignore does, with GitHub's exception that
// docs/* is not about what is in folders of docs.
func gitHubGlob(pattern string) glob {
	rooted := strings.Contains(strings.TrimSuffix(pattern, "/"), "/")
	folder := strings.HasSuffix(pattern, "/")
	segments := split(pattern)
	if !rooted {
		segments = append([]string{anyDepth}, segments...)
	}
	g := glob{segments: segments, below: true}
	switch last := segments[len(segments)-1]; {
	case folder:
		g.segments = append(g.segments, anyDepth, "*")
		g.below = false
	case last == "*" && rooted:
		g.below = false
	}
	return g
}

// gitLabGlob reads a pattern as File.fnmatch of Ruby does with FNM_DOTMATCH and
// FNM_PATHNAME, after GitLab's own rewriting: what does not begin with a slash
// matches at any depth, and what ends with one matches all below.
func gitLabGlob(pattern string) glob {
	segments := split(pattern)
	// To fnmatch only **/ is any depth; at the end ** is what * is.
	if last := len(segments) - 1; segments[last] == anyDepth && !strings.HasSuffix(pattern, "/") {
		segments[last] = "*"
	}
	if !strings.HasPrefix(pattern, "/") {
		segments = append([]string{anyDepth}, segments...)
	}
	if strings.HasSuffix(pattern, "/") {
		segments = append(segments, anyDepth, "*")
	}
	return glob{segments: segments, sets: true}
}

// split cuts at slashes and drops what is empty.
func split(pattern string) []string {
	var out []string
	for s := range strings.SplitSeq(pattern, "/") {
		// Two in a row match what one does.
		if s == "" || s == anyDepth && len(out) > 0 && out[len(out)-1] == anyDepth {
			continue
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return []string{anyDepth}
	}
	return out
}

// match tells whether the pattern matches a path.
func (g glob) match(path []string) bool {
	// back is where ** was last met: the segment after it, and how many
	// segments of the path it has taken.
	p, s, backP, backS := 0, 0, -1, 0
	for s < len(path) {
		switch {
		case p < len(g.segments) && g.segments[p] == anyDepth:
			if p == len(g.segments)-1 {
				return true
			}
			backP, backS = p+1, s
			p++
			continue
		case p < len(g.segments) && matchSegment(g.segments[p], path[s], g.sets):
			p++
			s++
			if p == len(g.segments) && g.below {
				return true
			}
			continue
		}
		if backP < 0 {
			return false
		}
		backS++
		p, s = backP, backS
	}
	return p == len(g.segments)
}

// matchSegment matches one segment: * any characters, ? one, and with sets [a-z]
// one of several and \ the next as it is.
func matchSegment(pattern, s string, sets bool) bool {
	p, i, backP, backI := 0, 0, -1, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			p++
			backP, backI = p, i
			continue
		}
		if p < len(pattern) {
			if np, ni, ok := matchOne(pattern, p, s, i, sets); ok {
				p, i = np, ni
				continue
			}
		}
		if backP < 0 {
			return false
		}
		_, size := utf8.DecodeRuneInString(s[backI:])
		backI += size
		p, i = backP, backI
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches one character and returns where both go on.
func matchOne(pattern string, p int, s string, i int, sets bool) (nextP, nextI int, ok bool) {
	r, size := utf8.DecodeRuneInString(s[i:])
	switch c := pattern[p]; {
	case c == '?':
		return p + 1, i + size, true
	case sets && c == '\\' && p+1 < len(pattern):
		p++
	case sets && c == '[':
		if in, length := matchSet(pattern[p:], r); length > 0 {
			return p + length, i + size, in
		}
	}
	want, width := utf8.DecodeRuneInString(pattern[p:])
	return p + width, i + size, want == r && width == size
}

// matchSet reads a set such as [a-c] or [^x] and tells whether it holds r. The
// length is 0 if the set does not end, so that [ is a character like others.
func matchSet(set string, r rune) (in bool, length int) {
	end := strings.IndexByte(set[1:], ']')
	if end <= 0 {
		return false, 0
	}
	members := []rune(set[1 : 1+end])
	negated := members[0] == '^' || members[0] == '!'
	if negated {
		members = members[1:]
	}
	for i := 0; i < len(members); i++ {
		if i+2 < len(members) && members[i+1] == '-' {
			in = in || members[i] <= r && r <= members[i+2]
			i += 2
			continue
		}
		in = in || members[i] == r
	}
	return in != negated, end + 2
}
