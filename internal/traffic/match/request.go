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
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

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
	Limits        Limits
	Normalization Normalization
	Arrival       Arrival
	// Upgrades are the protocols to which a connection may change, in any case.
	Upgrades []string
	// StripPort removes a port from the host before routing, of any value
	// (strip_any_host_port).
	StripPort bool
	// StripMatchingPort removes it if it is that of the listener
	// (strip_matching_host_port), which is not known here.
	StripMatchingPort bool
	// StripTrailingDot removes a dot at the end of the host.
	StripTrailingDot bool
	// MaxStreamDuration bounds the streams of routes that say nothing; 0 means
	// for ever.
	MaxStreamDuration time.Duration
	// Unsure names what in the connection manager is not understood although it
	// may decide.
	Unsure []string
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
	"if-none-match": true, "connection": true, "upgrade": true, "te": true, "if-range": true, "if-unmodified-since": true, "origin": true, "pragma": true,
	"referer": true, "user-agent": true, "via": true, "x-client-trace-id": true,
	"x-envoy-decorator-operation": true, "x-envoy-downstream-service-cluster": true,
	"x-envoy-downstream-service-node": true, "x-envoy-external-address": true, "x-envoy-original-path": true,
	"x-forwarded-client-cert": true, "x-forwarded-for": true, "x-forwarded-host": true,
	"x-forwarded-port": true, "x-forwarded-proto": true, "x-request-id": true,
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

// prepared returns the request as a route sees it, but for what arrive does to
// its headers: several Host headers become one value, the path loses its
// fragment and is normalized, the host stripped. It may come to an end here.
func (r Request) prepared(o *Options) (Request, ending) {
	for i := range r.Headers {
		if strings.EqualFold(r.Headers[i].Name, "host") && r.Headers[i].Value != "" {
			r.Host += "," + r.Headers[i].Value
		}
	}
	if o.Limits.Underscores == corev3.HttpProtocolOptions_DROP_HEADER {
		r.dropUnderscores()
	}
	r.ignoreH2C()
	if !r.HTTP2 && r.misusesConnection() {
		return r, ending{status: 400, why: misuse}
	}
	end := r.normalize(o.Normalization)
	if end.status != 0 {
		return r, end
	}
	r.Scheme = r.schemeOn(o.Arrival)
	if o.StripTrailingDot {
		r.Host = withoutTrailingDot(r.Host)
	}
	if o.StripPort {
		r.Host = withoutPort(r.Host)
	}
	return r, ending{}
}

// normalize changes the path, or says why nobody gets to see it.
func (r *Request) normalize(n Normalization) ending {
	path, _, _ := strings.Cut(r.Path, "#")
	path, redirects, why := n.Apply(path)
	switch {
	case why != "":
		return ending{status: 400, why: why}
	case redirects && r.grpc():
		return ending{status: 400, why: "the path has an escaped slash, and a call of gRPC cannot be redirected to the path without"}
	case redirects:
		return ending{status: 307, why: "the path has an escaped slash, and the client is told the path without", location: path}
	}
	r.Path = path
	return ending{}
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
