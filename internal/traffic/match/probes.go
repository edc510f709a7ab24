package match

import (
	"slices"
	"strings"
)

// Probes returns variations of a request that connection managers with other
// options may take for other requests, or refuse; none where the options differ
// in nothing that a request shows by itself.
func Probes(b, a Options, r Request) []Request {
	var out []Request
	with := func(headers ...Header) {
		v := r
		v.Headers = slices.Concat(r.Headers, headers)
		out = append(out, v)
	}
	if b.Normalization != a.Normalization {
		for _, p := range otherPaths(r.Path) {
			v := r
			v.Path = p
			out = append(out, v)
		}
	}
	if b.Limits.Underscores != a.Limits.Underscores {
		with(Header{"x_user", "any"})
	}
	for _, protocol := range slices.Concat(b.Upgrades, a.Upgrades) {
		if !r.HTTP2 && slices.Contains(b.Upgrades, protocol) != slices.Contains(a.Upgrades, protocol) {
			with(Header{"connection", "Upgrade"}, Header{"upgrade", protocol})
		}
	}
	if b.Arrival.believes() != a.Arrival.believes() {
		with(Header{"x-forwarded-proto", "https"})
	}
	return out
}

// otherPaths returns ways to write a path that normalization may make equal to
// it: with a slash twice, by way of another folder, and with a slash or a
// backslash that is escaped.
func otherPaths(path string) []string {
	p, query := cutQuery(path)
	if !strings.HasPrefix(p, "/") {
		return nil
	}
	if p == "/" {
		p = "/zz"
	}
	out := []string{"/" + p, "/zz/.." + p}
	before, after := p, "zz" // only a slash behind the first can be escaped
	if i := strings.LastIndexByte(p, '/'); i > 0 {
		before, after = p[:i], p[i+1:]
	}
	for _, slash := range []string{"%2F", "%5C"} {
		out = append(out, before+slash+after)
	}
	for i := range out {
		out[i] += query
	}
	return out
}
