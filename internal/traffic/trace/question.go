package trace

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"mizzen.dev/mizzen"
)

// Outside is a caller beyond the mesh: its requests come in at a gateway.
const Outside = "outside"

// Question is a request to be followed.
type Question struct {
	// From is the caller: a workload ("shop/web-v1"), what several workloads
	// have in common ("shop/web"), the address of a client outside, or Outside,
	// which is also what empty means.
	From string `json:"from,omitempty"`
	// Gateway is the one that takes a request from outside, as
	// "namespace/name"; empty lets the mesh choose.
	Gateway string `json:"gateway,omitempty"`
	// Method is an HTTP method; empty is GET, or POST for gRPC.
	Method string `json:"method,omitempty"`
	// URL has the scheme http, https, grpc, tcp or tls.
	URL     string               `json:"url"`
	Headers []mizzen.TraceHeader `json:"headers,omitempty"`
	// Claims are those of a valid token that comes with the request; nil for
	// none.
	Claims map[string]any `json:"claims,omitempty"`
}

// The schemes of a Question and their ports.
var schemes = map[string]uint32{"http": 80, "https": 443, "grpc": 80, "tcp": 0, "tls": 443}

// request is a Question taken apart.
type request struct {
	Question
	// host is that of the URL, in lower case, without a port and without the dot
	// of an absolute name; authority is as the client sends it.
	host, authority string
	// absolute: the name ends with a dot, so that a resolver takes it as it is.
	absolute bool
	port     uint32
	// path begins with a slash and includes the query.
	path string
	// encrypted: the caller itself speaks TLS. http: what is inside is HTTP, as
	// far as a proxy can see; h2 in its second version.
	encrypted, http, h2 bool
}

func parse(q Question) (*request, error) {
	u, err := url.Parse(q.URL)
	if err != nil {
		return nil, &mizzen.Error{Kind: mizzen.Invalid, Object: q.URL, Err: errors.Unwrap(err), Remedy: "write it as http://host:port/path"}
	}
	port, known := schemes[u.Scheme]
	if !known || u.Hostname() == "" {
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: q.URL, Err: fmt.Errorf("the scheme %q is not known, or the host is missing", u.Scheme),
			Remedy: "write it as http://host:port/path; the scheme is http, https, grpc, tcp or tls",
		}
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return nil, &mizzen.Error{Kind: mizzen.Invalid, Object: q.URL, Err: fmt.Errorf("port %s is none", p), Remedy: "name a port of 1 to 65535"}
		}
		port = uint32(n)
	}
	if port == 0 {
		return nil, &mizzen.Error{Kind: mizzen.Invalid, Object: q.URL, Err: errors.New("it names no port"), Remedy: "add one, as in tcp://mysql:3306"}
	}
	host, absolute := strings.CutSuffix(strings.ToLower(u.Hostname()), ".")
	r := &request{
		Question: q, host: host, absolute: absolute, authority: u.Host, port: port, path: u.RequestURI(),
		encrypted: u.Scheme == "https" || u.Scheme == "tls",
		http:      u.Scheme != "tcp" && u.Scheme != "tls", h2: u.Scheme == "grpc",
	}
	r.complete()
	return r, nil
}

// complete adds what a client sends unasked.
func (r *request) complete() {
	for _, h := range r.Headers {
		if strings.EqualFold(h.Name, "host") {
			r.authority = h.Value
		}
	}
	if !r.http {
		r.Method = ""
	} else if r.Method == "" {
		r.Method = "GET"
		if r.h2 {
			r.Method = "POST"
		}
	}
	if r.h2 {
		r.Headers = append(r.Headers[:len(r.Headers):len(r.Headers)], mizzen.TraceHeader{Name: "content-type", Value: "application/grpc"})
	}
}

// serverName is what a TLS client tells of the host it wants; none for an
// address (RFC 6066, section 3).
func (r *request) serverName() string {
	if !r.encrypted || net.ParseIP(r.host) != nil {
		return ""
	}
	return r.host
}
