package match

import "strings"

// Normalization is how the connection manager treats a path before anything
// looks at it, in this order.
type Normalization struct {
	// UnescapeSlashes decodes %2F and %5C (path_with_escaped_slashes_action).
	UnescapeSlashes bool
	// DotSegments resolves . and .., turns backslashes into slashes and decodes
	// escapes of unreserved characters (normalize_path).
	DotSegments bool
	// MergeSlashes makes one slash of several (merge_slashes).
	MergeSlashes bool
}

// Apply returns the path as routes and policies see it. The query is
// untouched. It returns false for a path that Envoy refuses to normalize, with
// 400: one with %00.
func (n Normalization) Apply(path string) (normalized string, ok bool) {
	p, query := cutQuery(path)
	if n.UnescapeSlashes && strings.IndexByte(p, '%') >= 0 {
		p = escapedSlashes.Replace(p)
	}
	if n.DotSegments {
		if strings.Contains(p, "%00") {
			return path, false
		}
		p = withoutDotSegments(p)
	}
	if n.MergeSlashes {
		p = mergeSlashes(p)
	}
	return p + query, true
}

var escapedSlashes = strings.NewReplacer("%2f", "/", "%2F", "/", "%5c", `\`, "%5C", `\`)

// cutQuery splits a path before its question mark; query begins with it.
func cutQuery(path string) (p, query string) {
	if i := strings.IndexByte(path, '?'); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// unsafePath are the characters that normalize_path escapes, besides those that
// it decodes or resolves.
var unsafePath = strings.NewReplacer(
	`"`, "%22", "<", "%3C", ">", "%3E", "^", "%5E", "`", "%60", "{", "%7B", "|", "%7C", "}", "%7D", `\`, "/",
)

// withoutDotSegments follows Envoy's PathCanonicalizer.
func withoutDotSegments(p string) string {
	if !strings.HasPrefix(p, "/") {
		return p
	}
	if !strings.ContainsAny(p, "\\%\"<>^`{|}") && !strings.Contains(p, "/.") {
		return p
	}
	segments := strings.Split(unsafePath.Replace(p)[1:], "/")
	var kept []string
	for i, s := range segments {
		last := i == len(segments)-1
		decoded := unescapeUnreserved(s)
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

// unescapeUnreserved decodes escapes of letters, digits, "-", ".", "_" and
// "~"; a broken escape stays.
func unescapeUnreserved(p string) string {
	if strings.IndexByte(p, '%') < 0 {
		return p
	}
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		if p[i] != '%' || i+2 >= len(p) || !isHex(p[i+1]) || !isHex(p[i+2]) {
			b.WriteByte(p[i])
			continue
		}
		if c := unhex(p[i+1])<<4 | unhex(p[i+2]); unreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteString(p[i : i+3])
		}
		i += 2
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
