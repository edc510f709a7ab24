// Package generate makes what the oracle asks: meshes of random objects, and
// for each of their route configurations the requests that sit at the edges of
// its conditions. The same seed gives the same.
package generate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// Request is one request to both sides.
type Request struct {
	Method, Path, Host string
	Header             [][2]string
	// Bucket stands in for all that Envoy leaves to chance, 0..999,999.
	Bucket uint32
	HTTP2  bool
	// Fail is the status that every upstream answers with; 0 means 200. Answer
	// are headers of its answer.
	Fail   int
	Answer [][2]string
}

// String returns the request as a line for people.
func (r Request) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s host=%q bucket=%d", r.Method, r.Path, r.Host, r.Bucket)
	if r.HTTP2 {
		b.WriteString(" HTTP/2")
	}
	if r.Fail != 0 {
		fmt.Fprintf(&b, " upstream-answers=%d", r.Fail)
	}
	for _, h := range r.Header {
		fmt.Fprintf(&b, " %s=%q", h[0], h[1])
	}
	return b.String()
}

// methods are the usual ones and a rare one. Envoy's HTTP/1.1 codec refuses
// what it does not know by name; that of HTTP/2 does not.
var methods = []string{"GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS", "PURGE"}

// oddPaths sit at the edges of how Envoy normalizes paths.
var oddPaths = []string{"/", "//", "///", "/%2f", "/%5C%5c", "/zzz", "/%", "/%zz", "/a%2fb", "/.", "/..", "/a/../..", `/a\b`, "/*", "/a;b=c", `/a"b|c`, "/x{y}^z<>`"}

// forms are the parts that satisfy one route, with what sits beside them.
type forms struct {
	hosts, paths []string
	headers      [][]form
	queries      [][]string
	methods      []string
	origins      []string
}

// form is a header in one form: none, once or several times.
type form [][2]string

// Source makes requests for one route configuration.
type Source struct {
	rnd    *rand.Rand
	routes []forms
	next   int
}

// NewSource returns the requests for rc, as it is reached at port.
func NewSource(rc *routev3.RouteConfiguration, port uint32, rnd *rand.Rand) *Source {
	s := &Source{rnd: rnd}
	// istiod takes some of them from a map.
	virtualHosts := slices.SortedStableFunc(slices.Values(rc.VirtualHosts), func(a, b *routev3.VirtualHost) int {
		return strings.Compare(a.Name, b.Name)
	})
	for _, host := range virtualHosts {
		var hosts []string
		for _, domain := range host.Domains {
			hosts = append(hosts, s.hosts(domain, port)...)
		}
		for _, route := range host.Routes {
			s.routes = append(s.routes, s.forms(route, hosts))
		}
	}
	return s
}

// Routes returns how many routes there are to ask about.
func (s *Source) Routes() int { return len(s.routes) }

func (s *Source) forms(route *routev3.Route, hosts []string) forms {
	f := forms{hosts: hosts, paths: s.paths(route.Match), origins: s.origins(route)}
	for _, h := range route.GetMatch().GetHeaders() {
		switch {
		case h.Name == ":method":
			f.methods = append(f.methods, s.values(h.GetStringMatch())...)
		case h.Name == ":authority":
			f.hosts = append(s.values(h.GetStringMatch()), f.hosts...)
		case !strings.HasPrefix(h.Name, ":"):
			f.headers = append(f.headers, s.header(h))
		}
	}
	for _, c := range route.GetMatch().GetCookies() {
		f.headers = append(f.headers, s.cookie(c))
	}
	for _, q := range route.GetMatch().GetQueryParameters() {
		f.queries = append(f.queries, s.query(q))
	}
	return f
}

// Next returns a request that satisfies one of the routes, each in its turn,
// and departs from it in none, one or two ways.
func (s *Source) Next() Request {
	f := s.routes[s.next%len(s.routes)]
	s.next++
	r := Request{Method: "GET", Host: f.hosts[0], Path: f.paths[0], Bucket: s.rnd.Uint32N(1_000_000), HTTP2: s.rnd.IntN(4) == 0}
	if s.rnd.IntN(2) == 0 {
		r.Host = pick(s.rnd, f.hosts)
	}
	if len(f.methods) > 0 {
		r.Method = f.methods[0]
	}
	chosen := make([]int, len(f.headers))
	asked := make([]int, len(f.queries))
	for range []int{0, 1, 1, 1, 2}[s.rnd.IntN(5)] {
		s.depart(&r, f, chosen, asked)
	}
	for i, forms := range f.headers {
		r.Header = append(r.Header, forms[chosen[i]]...)
	}
	var query []string
	for i, forms := range f.queries {
		if q := forms[asked[i]]; q != "" {
			query = append(query, q)
		}
	}
	r.Path = withQuery(r.Path, strings.Join(query, "&"))
	s.special(&r, f)
	sendable(&r, f)
	return r
}

// sendable takes out what the two codecs of Envoy treat differently.
func sendable(r *Request, f forms) {
	r.Path = strings.ReplaceAll(r.Path, " ", "%20")
	switch {
	case repeats(r.Header, "host", 1), // which HTTP/2 does not have
		repeats(r.Header, "cookie", 2), slices.Contains(r.Header, [2]string{"cookie", ""}), // which its codec joins, or leaves out
		strings.ContainsFunc(r.Path+r.Host, func(c rune) bool { return c > '~' || c == '#' }): // which it refuses
		r.HTTP2 = false
	}
	if r.Host == "" {
		r.Host = f.hosts[0] // no host at all is another matter
	}
	if !slices.Contains(methods, r.Method) {
		r.Method = "LINK"
	}
}

// depart changes r in one way.
func (s *Source) depart(r *Request, f forms, chosen, asked []int) {
	switch way := s.rnd.IntN(10); {
	case way < 4:
		r.Path = pick(s.rnd, f.paths)
	case way < 5:
		r.Method = pick(s.rnd, append(slices.Clone(methods), f.methods...))
	case way < 6:
		r.Host = pick(s.rnd, s.routes[s.rnd.IntN(len(s.routes))].hosts)
	case way < 8 && len(chosen) > 0:
		i := s.rnd.IntN(len(chosen))
		chosen[i] = s.rnd.IntN(len(f.headers[i]))
	case len(asked) > 0:
		i := s.rnd.IntN(len(asked))
		asked[i] = s.rnd.IntN(len(f.queries[i]))
		if s.rnd.IntN(2) == 0 {
			asked[i] %= basicQueries
		}
	case way < 9:
		r.Path = pick(s.rnd, s.routes[s.rnd.IntN(len(s.routes))].paths)
	default:
		r.Path = pick(s.rnd, oddPaths)
	}
}

// special turns some requests into those of CORS and gRPC, adds a header that
// routes like to change, repeats Host, or has the upstream fail.
func (s *Source) special(r *Request, f forms) {
	if len(f.origins) > 0 && s.rnd.IntN(2) == 0 {
		s.browsing(r, f.origins)
	}
	switch s.rnd.IntN(40) {
	case 0:
		r.Fail = []int{500, 502, 503, 504, 404, 409, 429}[s.rnd.IntN(7)]
	case 1, 2:
		s.calling(r)
	case 3, 4, 5, 6, 7:
		r.Header = append(r.Header, [2]string{"x-a", "mine"}, [2]string{"x-b", "mine"}, [2]string{"x-a", "too"})
		r.Answer = [][2]string{{"x-c", "theirs"}, {"x-d", "theirs"}, {"x-c", "too"}}
	case 8:
		if !r.HTTP2 {
			r.Header = append(r.Header, [2]string{"Host", pick(s.rnd, f.hosts)})
		}
	case 9, 10, 11, 12:
		s.arriving(r)
	case 13:
		s.upgrading(r)
	case 14:
		s.burdened(r)
	}
}

// browsing makes it a browser's, which may ask for permission first.
func (s *Source) browsing(r *Request, origins []string) {
	r.Header = append(r.Header, [2]string{"Origin", pick(s.rnd, origins)})
	if s.rnd.IntN(2) == 0 {
		r.Method = "OPTIONS"
		r.Header = append(r.Header, [2]string{"Access-Control-Request-Method", pick(s.rnd, methods)})
	}
}

// calling makes it a call of gRPC.
func (s *Source) calling(r *Request) {
	r.HTTP2 = !strings.ContainsFunc(r.Path+r.Host, func(c rune) bool { return c > '~' || c == '#' })
	r.Header = append(r.Header, [2]string{"content-type", []string{"application/grpc", "application/grpc+proto", "application/grpcx"}[s.rnd.IntN(3)]})
	// Long ones: on a busy machine a short one would end what goes on.
	r.Header = append(r.Header, [2]string{"grpc-timeout", pick(s.rnd, []string{"61S", "65000m", "90000500u", "2M", "x"})})
}

// arriving are headers that a connection manager reads, or takes out.
var arriving = [][2]string{
	{"X-Forwarded-Proto", "https"},
	{"x-forwarded-proto", "http"},
	{"x-forwarded-proto", "ftp"},
	{"x-request-id", "mine"},
	{"x-forwarded-for", "203.0.113.7"},
	{"x-envoy-retry-on", "5xx"},
	{"x-envoy-upstream-rq-timeout-ms", "77777"},
	{"te", "trailers"},
	// HTTP/2 has none of these.
	{"connection", "close, X-User"},
	{"connection", "x-forwarded-proto"},
	{"upgrade", "websocket"},
	{"keep-alive", "timeout=5"},
}

// hop is the first of those that HTTP/2 does not have.
const hop = 8

func (s *Source) arriving(r *Request) {
	i := s.rnd.IntN(len(arriving))
	r.HTTP2 = r.HTTP2 && i < hop
	r.Header = append(r.Header, arriving[i])
}

// upgrading wants another protocol, which not every proxy allows.
func (s *Source) upgrading(r *Request) {
	r.HTTP2 = false
	connection := pick(s.rnd, []string{"Upgrade", "keep-alive, upgrade", "upgrade,HTTP2-Settings"})
	r.Header = append(r.Header, [2]string{"Connection", connection}, [2]string{"Upgrade", pick(s.rnd, []string{"websocket", "WebSocket", "h2c", "foo"})})
	if s.rnd.IntN(8) == 0 {
		r.Header = append(r.Header, [2]string{"Upgrade", "foo"})
	}
}

// burdened has more headers than some proxies take, or one with an underscore
// in its name.
func (s *Source) burdened(r *Request) {
	switch s.rnd.IntN(4) {
	case 0:
		r.Header = append(r.Header, [2]string{"x_user", "jason"})
	case 1:
		r.Header = append(r.Header, [2]string{"x-long", strings.Repeat("x", 1024*pick(s.rnd, []int{1, 2, 61}))})
	default:
		// With what a request has anyway, those are about 20 and 100.
		for i := range pick(s.rnd, []int{12, 92}) + s.rnd.IntN(8) {
			r.Header = append(r.Header, [2]string{fmt.Sprintf("x-m%d", i), "1"})
		}
	}
}

// repeats tells whether a header is there so many times.
func repeats(headers [][2]string, name string, times int) bool {
	for _, h := range headers {
		if strings.EqualFold(h[0], name) {
			times--
		}
	}
	return times <= 0
}

func withQuery(path, query string) string {
	if query == "" {
		return path
	}
	before, fragment, broken := strings.Cut(path, "#")
	if broken {
		fragment = "#" + fragment
	}
	if strings.Contains(before, "?") {
		return before + "&" + query + fragment
	}
	return before + "?" + query + fragment
}

func pick[T any](rnd *rand.Rand, list []T) T { return list[rnd.IntN(len(list))] }
