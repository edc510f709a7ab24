package match

import (
	"net/http"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// Limits are what the codecs of a connection manager bear. OptionsOf reads them
// from one; the zero value is Envoy's.
type Limits struct {
	// HeaderKiB bounds the path, the host and all headers of a request together
	// (max_request_headers_kb); 0 means 60.
	HeaderKiB uint32
	// Headers is how many there may be, those among them that HTTP/2 calls
	// pseudo headers (max_headers_count); 0 means 100.
	Headers uint32
	// Underscores says what becomes of headers whose name has an underscore.
	Underscores corev3.HttpProtocolOptions_HeadersWithUnderscoresAction
}

func (l Limits) bytes() int {
	if l.HeaderKiB == 0 {
		return 60 << 10
	}
	return int(l.HeaderKiB) << 10
}

func (l Limits) headers() int {
	if l.Headers == 0 {
		return 100
	}
	return int(l.Headers)
}

// ending is how a connection manager itself answers a request, before a filter
// or a route sees it; the zero value lets it pass.
type ending struct {
	status int
	// why is one sentence without a final stop.
	why string
	// location is set for a redirect.
	location string
}

// outcome is the ending as a router tells it.
func (e ending) outcome(req *Request, o *Options) Outcome {
	out := Outcome{Kind: BadRequest, Why: e.why, Path: req.Path, Host: req.Host, Location: e.location, Unsure: o.doubts(req)}
	if e.location != "" {
		out.Kind = Redirect
	}
	out.answer(e.status, req)
	return out
}

// knownMethod reports whether Envoy's HTTP/1.1 parser knows a method; it refuses
// any other.
func knownMethod(method string) bool {
	switch method {
	case "ACL", "BIND", "CHECKOUT", "CONNECT", "COPY", "DELETE", "GET", "HEAD", "LINK", "LOCK", "MERGE", "MKACTIVITY",
		"MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "OPTIONS", "PATCH", "POST", "PROPFIND", "PROPPATCH", "PURGE", "PUT", "REBIND",
		"REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "TRACE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE":
		return true
	}
	return false
}

// refusal returns the status with which Envoy refuses a request as it is sent,
// and why; 0 if it does not. The first line comes before the headers, and these
// before what they say.
func (r *Request) refusal(l Limits) (status int, why string) {
	if why := r.malformed(); why != "" {
		return 400, why
	}
	if status, why := r.burden(l); status != 0 {
		return status, why
	}
	switch {
	case !allIn(r.Host, &hostChars):
		return 400, "the host has a character that hosts must not have"
	case r.Method == http.MethodOptions && r.Path == "*":
		return 404, "the request is to no path at all"
	case !strings.HasPrefix(r.Path, "/"):
		return 400, "the path does not begin with a slash"
	}
	return 0, ""
}

// malformed says what is wrong with the first line of a request.
func (r *Request) malformed() string {
	switch {
	case !isToken(r.Method):
		return "the method is not a token"
	case !r.HTTP2 && !knownMethod(r.Method):
		return "the method is not one of HTTP/1.1"
	case !allIn(r.Path, &pathChars):
		return "the path has a character that must be escaped"
	}
	return ""
}

// burden is how a codec refuses headers; 0 if it does not.
func (r *Request) burden(l Limits) (status int, why string) {
	switch {
	case r.size() > l.bytes():
		return 431, "path and headers are larger than this proxy takes"
	case r.tooMany(l):
		return 431, "there are more headers than this proxy takes"
	case l.Underscores == corev3.HttpProtocolOptions_REJECT_REQUEST && slices.ContainsFunc(r.Headers, hasUnderscore):
		return 400, "a header has an underscore in its name"
	case r.HTTP2 && r.misusesConnection():
		return 400, misuse
	}
	return 0, ""
}

// size is what counts of a request for the limit of its bytes.
func (r *Request) size() int {
	n := len(r.Method) + len(r.Path) + len(r.Host)
	for i := range r.Headers {
		n += len(r.Headers[i].Name) + len(r.Headers[i].Value)
	}
	return n
}

// tooMany reports whether a request has more headers than a limit. Lines that
// Envoy joins are one header, and those that it drops are none.
func (r *Request) tooMany(l Limits) bool {
	room := l.headers() - 1 // with the host
	if r.HTTP2 {
		room -= 3 // method, scheme and path
	}
	if len(r.Headers) <= room {
		return false
	}
	seen := map[string]bool{"host": true}
	for _, h := range r.Headers {
		name := lower(h.Name)
		if seen[name] || l.Underscores == corev3.HttpProtocolOptions_DROP_HEADER && hasUnderscore(h) {
			continue
		}
		seen[name] = joined[name]
		room--
	}
	return room < 0
}

func hasUnderscore(h Header) bool { return strings.IndexByte(h.Name, '_') >= 0 }

// dropUnderscores takes out the headers whose name has an underscore.
func (r *Request) dropUnderscores() {
	if slices.ContainsFunc(r.Headers, hasUnderscore) {
		r.Headers = slices.DeleteFunc(slices.Clone(r.Headers), hasUnderscore)
	}
}

// isToken follows RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i] | 32
		if (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// charset is a set of bytes.
type charset [256]bool

// hostChars are what Envoy lets an authority have, pathChars what it lets a
// path have. A fragment is allowed: Istio's bootstrap switches
// http_reject_path_with_fragment off, and Envoy then cuts it off.
var (
	hostChars = charsOf(func(c byte) bool { return unreserved(c) || strings.IndexByte("%!$&'()*+,;=:@[]", c) >= 0 })
	pathChars = charsOf(func(c byte) bool { return c > ' ' && c <= '~' })
)

func charsOf(in func(byte) bool) (set charset) {
	for c := range set {
		set[c] = in(byte(c))
	}
	return set
}

func allIn(s string, set *charset) bool {
	for i := range len(s) {
		if !set[s[i]] {
			return false
		}
	}
	return true
}
