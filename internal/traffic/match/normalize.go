package match

import (
	"fmt"
	"strings"
)

// Normalization is how the connection manager treats a path before anything
// looks at it, in this order.
type Normalization struct {
	// UnescapeSlashes decodes %2F and %5C, RejectSlashes refuses them
	// (path_with_escaped_slashes_action).
	UnescapeSlashes, RejectSlashes bool
	// RedirectSlashes tells clients of paths that UnescapeSlashes changes to ask
	// for the normalized path.
	RedirectSlashes bool
	// DotSegments resolves . and .., turns backslashes into slashes, decodes
	// escapes of unreserved characters and escapes some others
	// (normalize_path).
	DotSegments bool
	// MergeSlashes makes one slash of several (merge_slashes).
	MergeSlashes bool
}

// Apply returns the path as routes and policies see it. The query is
// untouched. Redirects says that Envoy answers with that path instead, and
// refused why it answers 400, if it does.
func (n Normalization) Apply(path string) (normalized string, redirects bool, refused string) {
	whole, query := cutQuery(path)
	p := n.unescape(whole)
	if n.RejectSlashes && p != whole {
		return path, false, "the path has an escaped slash"
	}
	redirects = n.RedirectSlashes && p != whole
	if n.DotSegments {
		if strings.Contains(p, "%00") {
			return path, false, "the path has %00, which cannot be normalized"
		}
		p = withoutDotSegments(p)
	}
	if n.MergeSlashes {
		p = mergeSlashes(p)
	}
	if len(p)+len(query) == len(path) && strings.HasPrefix(path, p) {
		return path, false, "" // which saves a copy
	}
	return p + query, redirects, ""
}

// unescape decodes escaped slashes where something is done about them.
func (n Normalization) unescape(p string) string {
	if (n.UnescapeSlashes || n.RejectSlashes) && strings.IndexByte(p, '%') >= 0 {
		return escapedSlashes.Replace(p)
	}
	return p
}

var escapedSlashes = strings.NewReplacer("%2f", "/", "%2F", "/", "%5c", `\`, "%5C", `\`)

// cutQuery splits a path before its question mark; query begins with it.
func cutQuery(path string) (p, query string) {
	if i := strings.IndexByte(path, '?'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// withoutDotSegments follows Envoy's PathCanonicalizer.
func withoutDotSegments(p string) string {
	if !strings.HasPrefix(p, "/") {
		return p
	}
	if allIn(p, &plainChars) && !strings.Contains(p, "/.") {
		return p
	}
	segments := strings.Split(strings.ReplaceAll(p, `\`, "/")[1:], "/")
	var kept []string
	for i, s := range segments {
		last := i == len(segments)-1
		decoded := canonical(s)
		switch dots(s, decoded) {
		case ".":
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
		default:
			kept = append(kept, decoded)
			continue
		}
		if last {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

// dots returns the dots that a segment stands for: alone, escaped or not, or,
// not escaped, before a semicolon and parameters that go with them.
func dots(raw, decoded string) string {
	if name, _, ok := strings.Cut(raw, ";"); ok {
		return name
	}
	return decoded
}

// mergeSlashes follows Envoy, which leaves two of a path of nothing but
// several slashes.
func mergeSlashes(p string) string {
	if !strings.Contains(p, "//") {
		return p
	}
	if strings.Trim(p, "/") == "" {
		return "//"
	}
	var b strings.Builder
	for i := range len(p) {
		if p[i] != '/' || i == 0 || p[i-1] != '/' {
			b.WriteByte(p[i])
		}
	}
	return b.String()
}

// mustEscape are the characters that Envoy escapes in a path.
const mustEscape = "\"<>^`{|}"

// plainChars are those that stay as they are in any path.
var plainChars = charsOf(func(c byte) bool { return strings.IndexByte(`\%`+mustEscape, c) < 0 })

// canonical decodes escapes of letters, digits, "-", ".", "_" and "~", and
// escapes what must be; a broken escape stays.
func canonical(p string) string {
	if !strings.ContainsAny(p, "%"+mustEscape) {
		return p
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		switch {
		case strings.IndexByte(mustEscape, p[i]) >= 0:
			fmt.Fprintf(&b, "%%%02X", p[i])
		case p[i] != '%' || i+2 >= len(p) || !isHex(p[i+1]) || !isHex(p[i+2]):
			b.WriteByte(p[i])
		default:
			if c := unhex(p[i+1])<<4 | unhex(p[i+2]); unreserved(c) {
				b.WriteByte(c)
			} else {
				b.WriteString(p[i : i+3])
			}
			i += 2
		}
	}
	return b.String()
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|32 >= 'a' && c|32 <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return (c | 32) - 'a' + 10
}
