package match

import (
	"net/netip"
	"slices"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// Arrival is how a connection manager treats the headers of a request before a
// filter or a route sees them (ConnectionManagerUtility::mutateRequestHeaders).
// OptionsOf reads it from one.
type Arrival struct {
	// Edge says that clients are not believed when they tell where they come
	// from (use_remote_address), but for those behind so many TrustedHops.
	Edge        bool
	TrustedHops uint32
	// LeavesForwardedFor says that an edge appends nothing to X-Forwarded-For.
	LeavesForwardedFor bool
	// AppendsForwardedPort says that the port is told in X-Forwarded-Port.
	AppendsForwardedPort bool
	// WithoutRequestID says that no request gets an ID, KeepsRequestID that an
	// edge keeps the client's.
	WithoutRequestID, KeepsRequestID bool
	// ClientCertificate says what becomes of x-forwarded-client-cert.
	ClientCertificate hcmv3.HttpConnectionManager_ForwardClientCertDetails
}

func arrivalOf(m *hcmv3.HttpConnectionManager) Arrival {
	return Arrival{
		Edge:               m.GetUseRemoteAddress().GetValue(),
		TrustedHops:        m.GetXffNumTrustedHops(),
		LeavesForwardedFor: m.GetSkipXffAppend(),

		AppendsForwardedPort: m.GetAppendXForwardedPort(),
		WithoutRequestID:     m.GetGenerateRequestId() != nil && !m.GetGenerateRequestId().Value,
		KeepsRequestID:       m.GetPreserveExternalRequestId(),
		ClientCertificate:    m.GetForwardClientCertDetails(),
	}
}

// believes tells whether clients are believed what scheme and port they told
// a proxy before.
func (a Arrival) believes() bool { return !a.Edge || a.TrustedHops > 0 }

// What a header that Envoy writes itself has for a value here. No request can
// have it: HTTP forbids the byte.
const (
	// madeUp: the header is there, but its value is not known.
	madeUp = "\x00"
	// doubtful: not even whether it is there is known.
	doubtful = "\x00?"
)

// fate is what becomes of a header on arrival.
type fate int

const (
	// dropped headers are for clients that Envoy takes for its own, which is
	// nobody unless it is told so.
	dropped fate = iota + 1
	// droppedAtEdge headers are believed only from within.
	droppedAtEdge
	// hop headers are for one connection, and stay only if the request changes
	// its protocol.
	hop
	// written headers may get another value.
	written
)

var fates = map[string]fate{
	"x-envoy-internal": dropped, "x-envoy-retriable-status-codes": dropped, "x-envoy-retriable-header-names": dropped,
	"x-envoy-retry-on": dropped, "x-envoy-retry-grpc-on": dropped, "x-envoy-max-retries": dropped,
	"x-envoy-upstream-alt-stat-name": dropped, "x-envoy-upstream-rq-timeout-ms": dropped,
	"x-envoy-upstream-rq-per-try-timeout-ms": dropped, "x-envoy-upstream-rq-timeout-alt-response": dropped,
	"x-envoy-expected-rq-timeout-ms": dropped, "x-envoy-force-trace": dropped, "x-envoy-ip-tags": dropped,
	"x-envoy-original-url": dropped, "x-envoy-hedge-on-per-try-timeout": dropped,

	"x-envoy-decorator-operation": droppedAtEdge, "x-envoy-downstream-service-cluster": droppedAtEdge,
	"x-envoy-downstream-service-node": droppedAtEdge, "x-envoy-original-path": droppedAtEdge, "x-envoy-original-host": droppedAtEdge,

	"connection": hop, "upgrade": hop, "keep-alive": hop, "proxy-connection": hop, "te": hop,

	"x-forwarded-proto": written, "x-forwarded-port": written, "x-forwarded-for": written, "x-request-id": written,
	"x-envoy-external-address": written, "x-forwarded-client-cert": written,
}

// looksAtArrival tells whether a configuration looks at headers that change on
// arrival. Most do not, and need not know how they change.
func looksAtArrival(rc *routev3.RouteConfiguration) bool {
	if len(rc.GetInternalOnlyHeaders()) > 0 {
		return true
	}
	for _, vh := range rc.GetVirtualHosts() {
		for _, r := range vh.Routes {
			if slices.ContainsFunc(r.GetMatch().GetHeaders(), func(h *routev3.HeaderMatcher) bool { return fates[lower(h.Name)] != 0 }) {
				return true
			}
		}
	}
	return false
}

// client is what Envoy knows of who sends a request.
type client struct {
	// address is invalid if it is not known here.
	address netip.Addr
	// certified: it shows a certificate.
	certified truth
}

// Arrived returns the headers of a request that is not refused as a connection
// manager with the routes rc hands them on, before a route changes any. A value
// that Envoy makes up is one that no matcher can tell.
func Arrived(rc *routev3.RouteConfiguration, req Request, o Options) []Header {
	from := req.anonymous()
	req, _ = req.prepared(&o)
	req.arrive(&o, from, rc.GetInternalOnlyHeaders())
	return req.Headers
}

// arrive changes the headers as the connection manager does. The scheme has
// been chosen before.
func (r *Request) arrive(o *Options, from client, internalOnly []string) {
	var room [maxWritten]Header
	changed, gone := r.written(room[:0], o.Arrival, from), r.hopHeaders()
	kept := make([]Header, 0, len(r.Headers)+len(changed))
	for _, h := range r.Headers {
		name := lower(h.Name)
		named := func(other string) bool { return lower(other) == name }
		if r.stays(name, o.Arrival.Edge) && !slices.ContainsFunc(gone, named) && !slices.ContainsFunc(internalOnly, named) &&
			!slices.ContainsFunc(changed, func(h Header) bool { return h.Name == name }) {
			kept = append(kept, h)
		}
	}
	for _, h := range changed {
		if h.Value != absent {
			kept = append(kept, h)
		}
	}
	r.Headers = kept
}

// stays reports whether a header that nothing takes out by its lower-case name
// stays.
func (r *Request) stays(name string, edge bool) bool {
	switch fates[name] {
	case dropped:
		return false
	case droppedAtEdge:
		return !edge
	case hop:
		if name == "te" {
			codings := r.first("te")
			return r.upgrades() || codings == "" || slices.Contains(tokens(codings), "trailers")
		}
		return r.upgrades() && name != "keep-alive" && name != "proxy-connection"
	}
	return true
}

// absent is the value of a header that is taken out.
const absent = "\x00-"

// maxWritten is how many headers may get a value of Envoy's.
const maxWritten = 6

// written appends the headers that get a value of Envoy's.
func (r *Request) written(out []Header, a Arrival, from client) []Header {
	out = append(out, Header{"x-forwarded-proto", r.forwardedProto(a)})
	if !a.WithoutRequestID && (len(r.header("x-request-id")) == 0 || a.Edge && !a.KeepsRequestID) {
		out = append(out, Header{"x-request-id", madeUp})
	}
	if a.AppendsForwardedPort && (!a.believes() || len(r.header("x-forwarded-port")) == 0) {
		out = append(out, Header{"x-forwarded-port", madeUp})
	}
	if a.Edge {
		out = append(out, Header{"x-envoy-external-address", madeUp})
		if !a.LeavesForwardedFor {
			out = append(out, Header{"x-forwarded-for", r.forwardedFor(from)})
		}
	}
	if v := certificateHeader(a, from); v != "" {
		out = append(out, Header{"x-forwarded-client-cert", v})
	}
	return out
}

// forwardedFor is X-Forwarded-For with the client's address, if that is known.
func (r *Request) forwardedFor(from client) string {
	if !from.address.IsValid() {
		return madeUp
	}
	return strings.Join(append(r.header("x-forwarded-for"), from.address.String()), ",")
}

// certificateHeader is what x-forwarded-client-cert becomes; "" if it stays.
func certificateHeader(a Arrival, from client) string {
	switch certificate := a.ClientCertificate; {
	case certificate == hcmv3.HttpConnectionManager_ALWAYS_FORWARD_ONLY:
		return ""
	case certificate == hcmv3.HttpConnectionManager_SANITIZE || from.certified == no:
		return absent
	case from.certified == unsure:
		return doubtful
	case certificate == hcmv3.HttpConnectionManager_FORWARD_ONLY:
		return ""
	}
	return madeUp
}

// forwardedProto returns the scheme that the client used, as far as it is
// believed.
func (r *Request) forwardedProto(a Arrival) string {
	if a.believes() {
		if v := r.header("x-forwarded-proto"); len(v) > 0 {
			return strings.Join(v, ",")
		}
	}
	return r.scheme()
}

// schemeOn returns the scheme of a request: HTTP/1.1 has none of its own, and
// gets that of X-Forwarded-Proto if it is one.
func (r *Request) schemeOn(a Arrival) string {
	if !r.HTTP2 {
		if p := lower(r.forwardedProto(a)); p == "http" || p == "https" {
			return p
		}
	}
	return r.scheme()
}

// hopHeaders returns the headers that the Connection header takes out of the
// request, in lower case.
func (r *Request) hopHeaders() (names []string) {
	values := r.header("connection")
	if len(values) == 0 || r.HTTP2 || r.upgrades() {
		return nil
	}
	for _, v := range values {
		names = append(names, slices.DeleteFunc(tokens(lower(v)), func(t string) bool { return t == "te" })...)
	}
	return names
}

// mustNotHop are what no client may declare to be for one connection.
var mustNotHop = []string{"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}

// misuse is why Envoy refuses them.
const misuse = "a header is said to be for the connection alone, and cannot be"

// misusesConnection reports whether a request is refused for headers that are
// for one connection: HTTP/2 knows none but te: trailers.
func (r *Request) misusesConnection() bool {
	if r.HTTP2 {
		return slices.ContainsFunc(r.Headers, func(h Header) bool {
			name := lower(h.Name)
			return fates[name] == hop && (name != "te" || h.Value != "trailers")
		})
	}
	return slices.ContainsFunc(r.hopHeaders(), func(name string) bool { return strings.HasPrefix(name, ":") || slices.Contains(mustNotHop, name) })
}

// tokens splits a list that is written with commas.
func tokens(list string) []string {
	out := strings.Split(list, ",")
	for i := range out {
		out[i] = strings.TrimSpace(out[i])
	}
	return out
}

// anonymous is the client of a request of which nothing else is known: one in
// TLS may show a certificate.
func (r *Request) anonymous() client {
	if r.scheme() == "http" {
		return client{certified: no}
	}
	return client{certified: unsure}
}
