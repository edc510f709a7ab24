// Package match decides what Envoy does with one connection and one request,
// as a pure function of the configuration that istiod sends: which listener
// and filter chain take a connection, which route takes a request and what
// becomes of it, and whether inbound policy lets it pass. It follows Envoy 1.40
// and says so where it cannot tell.
//
// What comes in is a resource of a traffic.View and a Request; what goes out is
// an Outcome, a Verdict, or the candidates that show a difference between two
// configurations. Nothing here does I/O, and the same input gives the same
// output.
package match

import (
	"net/http"
	"net/netip"
	"strings"
)

// maxHeaderBytes is Envoy's limit for the path, the host and all headers of a
// request (max_request_headers_kb, 60 by default); beyond it, it answers 431.
const maxHeaderBytes = 60 << 10

// Header is one header line. Names are compared without regard to case.
type Header struct {
	Name string
	// Value has no white space around it.
	Value string
}

// Request is what a client sends, before Envoy normalizes anything.
type Request struct {
	Method string
	// Path begins with a slash and carries the query.
	Path string
	// Host is the authority, with a port if the client sent one. It is sent also
	// if it is empty.
	Host string
	// Scheme is http or https, which is in TLS; "" means http.
	Scheme string
	// HTTP2 says that the client speaks HTTP/2, which knows any method.
	HTTP2 bool
	// Headers are in the order in which they are sent. Host is not among them.
	Headers []Header
	// Token is the JSON Web Token that the request carries, if it has one. It
	// is taken to be at the place where every provider looks.
	Token *Token
	// Bucket is the random value of the request: it picks among weighted
	// clusters (modulo the sum of the weights) and decides runtime_fraction,
	// as Envoy uses one value for both.
	Bucket uint64
}

// Token is a JSON Web Token as far as policies look into it.
type Token struct {
	Issuer    string
	Subject   string
	Audiences []string
	// Claims are further claims as encoding/json decodes them; lists of strings
	// may be []string.
	Claims map[string]any
	// Valid says that the signature is good and the token is not expired.
	Valid bool
}

// Options are settings of Envoy's HTTP connection manager that change what a
// route sees. OptionsOf reads them from one.
type Options struct {
	Normalization Normalization
	Arrival       Arrival
	// StripPort removes a port from the host before routing, of any value
	// (strip_any_host_port).
	StripPort bool
	// StripTrailingDot removes a dot at the end of the host.
	StripTrailingDot bool
	// WithoutTried leaves Outcome.Tried empty, which is much cheaper.
	WithoutTried bool
}

// Connection is what a listener knows of a connection when it chooses a filter
// chain.
type Connection struct {
	// Destination is where the client wanted to go, before any interception.
	Destination netip.AddrPort
	Source      netip.AddrPort
	// ServerName is the name that the client asks for in TLS, if it does.
	ServerName string
	// TLS says that the client begins with TLS.
	TLS bool
	// ALPN are the application protocols that the client offers in TLS, or,
	// without TLS, what the HTTP inspector finds: http/1.0, http/1.1 or h2c.
	ALPN []string
	// FilterState are string values that an earlier listener left, by key.
	FilterState map[string]string
	// Internal says that the listener is inside of Envoy, as that of a waypoint
	// for what tunnels bring: Source is what the tunnel said, and the socket has
	// no address.
	Internal bool
}

// direct is the address of the socket's other end, which an internal one lacks.
func (c *Connection) direct() netip.Addr {
	if c.Internal {
		return netip.Addr{}
	}
	return c.Source.Addr()
}

// Peer is the other side of an inbound connection.
type Peer struct {
	Connection
	// Identity is the SPIFFE ID of the client's certificate without its scheme,
	// as in traffic.Workload; "" if it shows none.
	Identity string
}

// header returns the values of a header in order, as Envoy keeps them: most
// repeated headers stay apart, some are joined to one value.
func (r *Request) header(name string) []string {
	return r.appendHeader(nil, name)
}

// appendHeader appends the values of a header to a list that is empty, which
// saves the one that is asked often an allocation.
func (r *Request) appendHeader(values []string, name string) []string {
	if part := partOf(name); part != "" || name == ":path" {
		return append(values, r.part(part))
	}
	for i := range r.Headers {
		if h := &r.Headers[i]; len(h.Name) == len(name) && strings.EqualFold(h.Name, name) {
			values = append(values, h.Value)
		}
	}
	if len(values) > 1 && joined[lower(name)] {
		return append(values[:0], strings.Join(values, ","))
	}
	return values
}

// part returns what HTTP/2 calls a pseudo header; the path for want of another.
func (r *Request) part(p Part) string {
	switch p {
	case PartMethod:
		return r.Method
	case PartHost:
		return r.Host
	case PartScheme:
		return r.scheme()
	}
	return r.Path
}

// first returns the first value of a header, or "".
func (r *Request) first(name string) string {
	if v := r.header(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// joined are the headers that Envoy keeps in a fixed slot: repeated lines are
// appended to one value with a comma. Which they are was measured, and follows
// from INLINE_REQ_HEADERS and from what Envoy's own filters register.
var joined = map[string]bool{
	"accept": true, "accept-encoding": true, "access-control-request-headers": true,
	"access-control-request-method": true, "access-control-request-private-network": true, "authorization": true,
	"cache-control": true, "content-encoding": true, "content-type": true, "expect": true,
	"grpc-accept-encoding": true, "grpc-timeout": true, "if-match": true, "if-modified-since": true,
	"if-none-match": true, "if-range": true, "if-unmodified-since": true, "origin": true, "pragma": true,
	"referer": true, "user-agent": true, "via": true, "x-client-trace-id": true,
	"x-envoy-decorator-operation": true, "x-envoy-downstream-service-cluster": true,
	"x-envoy-downstream-service-node": true, "x-envoy-external-address": true, "x-envoy-original-path": true,
	"x-forwarded-client-cert": true, "x-forwarded-for": true, "x-forwarded-host": true,
	"x-forwarded-port": true, "x-forwarded-proto": true, "x-request-id": true,
}

// methods are those that Envoy's HTTP/1.1 parser knows; any other is refused.
var methods = map[string]bool{
	"ACL": true, "BIND": true, "CHECKOUT": true, "CONNECT": true, "COPY": true, "DELETE": true, "GET": true,
	"HEAD": true, "LINK": true, "LOCK": true, "MERGE": true, "MKACTIVITY": true, "MKCALENDAR": true,
	"MKCOL": true, "MOVE": true, "NOTIFY": true, "OPTIONS": true, "PATCH": true, "POST": true,
	"PROPFIND": true, "PROPPATCH": true, "PURGE": true, "PUT": true, "REBIND": true, "REPORT": true,
	"SEARCH": true, "SOURCE": true, "SUBSCRIBE": true, "TRACE": true, "UNBIND": true, "UNLINK": true,
	"UNLOCK": true, "UNSUBSCRIBE": true,
}

func (r *Request) scheme() string {
	if r.Scheme == "" {
		return "http"
	}
	return r.Scheme
}

// grpc reports whether Envoy takes the request for gRPC: content type
// application/grpc, alone or followed by +.
func (r *Request) grpc() bool {
	rest, ok := strings.CutPrefix(r.first("content-type"), "application/grpc")
	return ok && (rest == "" || rest[0] == '+')
}

// preflight reports whether the request asks for permission by CORS.
func (r *Request) preflight() bool {
	return r.Method == http.MethodOptions && r.first("origin") != "" && r.first("access-control-request-method") != ""
}

// refusal returns the status with which Envoy refuses a request before it
// looks for a route, and why; 0 if it does not.
func (r *Request) refusal() (status int, why string) {
	size := len(r.Method) + len(r.Path) + len(r.Host)
	for i := range r.Headers {
		size += len(r.Headers[i].Name) + len(r.Headers[i].Value)
	}
	switch {
	case size > maxHeaderBytes:
		return 431, "path and headers are larger than 60 KiB"
	case !isToken(r.Method):
		return 400, "the method is not a token"
	case !r.HTTP2 && !methods[r.Method]:
		return 400, "the method is not one of HTTP/1.1"
	case !allIn(r.Host, &hostChars):
		return 400, "the host has a character that hosts must not have"
	case r.Method == http.MethodOptions && r.Path == "*":
		return 404, "the request is to no path at all"
	case !strings.HasPrefix(r.Path, "/"):
		return 400, "the path does not begin with a slash"
	case !allIn(r.Path, &pathChars):
		return 400, "the path has a character that must be escaped"
	}
	return 0, ""
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

// prepared returns the request as a route sees it, but for what arrive does to
// its headers: several Host headers become one value, the path loses its
// fragment and is normalized, the host stripped. Why says why Envoy refuses it
// with 400, if it does.
func (r Request) prepared(o Options) (out Request, why string) {
	for i := range r.Headers {
		if strings.EqualFold(r.Headers[i].Name, "host") && r.Headers[i].Value != "" {
			r.Host += "," + r.Headers[i].Value
		}
	}
	if r.misusesConnection() {
		return r, "a header is said to be for the connection alone, and cannot be"
	}
	path, _, _ := strings.Cut(r.Path, "#")
	path, why = o.Normalization.Apply(path)
	if why != "" {
		return r, why
	}
	r.Path, r.Scheme = path, r.schemeOn(o.Arrival)
	if o.StripTrailingDot {
		r.Host = withoutTrailingDot(r.Host)
	}
	if o.StripPort {
		r.Host = withoutPort(r.Host)
	}
	return r, ""
}

// withoutTrailingDot removes a dot at the end of an authority or of the host
// before its port (HeaderUtility::stripTrailingHostDot).
func withoutTrailingDot(host string) string {
	i := strings.LastIndexByte(host, '.')
	if i < 0 || i+1 < len(host) && host[i+1] != ':' {
		return host
	}
	return host[:i] + host[i+1:]
}
