package trial

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"mizzen.dev/mizzen/test/oracle/internal/client"
	"mizzen.dev/mizzen/test/oracle/internal/upstream"
)

// localDetails are what Envoy calls its own answers.
var localDetails = map[string]string{
	"route_not_found":    noRoute,
	"cluster_not_found":  noCluster,
	"fault_filter_abort": aborted,
	"cors_response":      preflight,
	"direct_response":    direct,

	unnormalized:              badRequest,
	"upgrade_failed":          badRequest,
	"http1.too_many_headers":  badRequest,
	"http1.headers_too_large": badRequest,
}

// unnormalized is what Envoy says of a path that it refuses, or wants to be asked
// for in another form.
const unnormalized = "path_normalization_failed"

// refusedUpgrade is what Envoy says where an upstream does not change the
// protocol, although the client and Envoy would.
const refusedUpgrade = "websocket_handshake_unsuccessful"

// observe puts an answer of Envoy into the words of Fate. The names of headers
// to look at are those of the prediction.
func observe(a *client.Answer, hits []upstream.Hit, predicted Fate) Fate {
	details := a.Header.Get(client.Probe)
	if refused(a.Status, details) {
		return Fate{Kind: badRequest, Status: http.StatusBadRequest}
	}
	f := Fate{Status: a.Status, Route: present(a.Header.Get("x-o-route")), Delayed: strings.Contains(a.Header.Get("x-o-flags"), "DI")}
	switch kind := localDetails[details]; {
	case kind != "":
		f.observeLocal(a, kind, details)
	case (details == "via_upstream" || details == refusedUpgrade) && len(hits) > 0:
		f.observeForward(a, hits, predicted)
	default:
		f.Kind, f.Why = other, details
	}
	if f.Kind != forward {
		f.GRPC, _ = strconv.Atoi(a.Header.Get("grpc-status"))
	}
	f.Response = looked(a.Header, predicted.Response)
	f.CORS = allowed(a.Header)
	return f
}

// observeLocal is what Envoy answers itself.
func (f *Fate) observeLocal(a *client.Answer, kind, details string) {
	f.Kind = kind
	switch {
	case details == unnormalized:
		f.Route = "" // Envoy looks for one to answer, not to choose it
		if a.Status == http.StatusTemporaryRedirect {
			f.Kind, f.Location = redirect, a.Header.Get("Location")
		}
	case kind == direct:
		// Envoy tells a location with 201, too.
		f.Location = a.Header.Get("Location")
		if f.Location != "" && a.Status != http.StatusCreated {
			f.Kind = redirect
		}
	}
}

// refused tells whether Envoy took an answer's request for none of HTTP.
// Without the probe, the listener gave it to a proxy of bytes.
func refused(status int, details string) bool {
	switch details {
	case "":
		return true
	case "via_upstream", "fault_filter_abort", "direct_response":
		return false
	}
	return status == http.StatusBadRequest
}

// present is a value of the probe; Envoy writes "-" for none.
func present(v string) string {
	if v == "-" {
		return ""
	}
	return v
}

func (f *Fate) observeForward(a *client.Answer, hits []upstream.Hit, predicted Fate) {
	f.Kind, f.Cluster = forward, a.Header.Get("x-o-cluster")
	f.Attempts, _ = strconv.Atoi(a.Header.Get("x-o-attempts"))
	const told = "x-envoy-expected-rq-timeout-ms"
	var own []upstream.Hit
	var copies []string
	for _, h := range hits {
		if h.Cluster == f.Cluster {
			own = append(own, h)
		} else {
			copies = append(copies, h.Cluster)
		}
	}
	if len(own) == 0 {
		return
	}
	// A copy that goes to the same cluster is the same but for the timeout.
	main := 0
	if len(own) > f.Attempts {
		main = max(0, slices.IndexFunc(own, func(h upstream.Hit) bool { return h.Header.Get(told) == predicted.Timeout }))
	}
	for range len(own) - f.Attempts {
		copies = append(copies, f.Cluster)
	}
	h := own[main]
	f.Path, f.Host, f.Timeout, f.Request = h.Path, h.Host, h.Header.Get(told), looked(h.Header, predicted.Request)
	slices.Sort(copies)
	f.Mirrors = strings.Join(copies, " ")
}

// looked returns the values of the headers that like has.
func looked(header http.Header, like map[string]string) map[string]string {
	if like == nil {
		return nil
	}
	out := map[string]string{}
	for name := range like {
		out[name] = strings.Join(header.Values(name), ",")
	}
	return out
}

func allowed(header http.Header) map[string]string {
	var out map[string]string
	for name := range header {
		name = strings.ToLower(name)
		if !strings.HasPrefix(name, "access-control-") {
			continue
		}
		if out == nil {
			out = map[string]string{}
		}
		out[name] = strings.Join(header.Values(name), ",")
	}
	return out
}
