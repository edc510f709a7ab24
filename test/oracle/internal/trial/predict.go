package trial

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
)

// Decide is the matcher as a function, so that a test can put a mistake into
// its place.
type Decide func(t *Target, r generate.Request) match.Outcome

// Matcher decides without a mistake.
func Matcher(t *Target, r generate.Request) match.Outcome {
	return t.router.Route(t.Request(r), t.Options)
}

// Request returns r as the matcher reads it.
func (t *Target) Request(r generate.Request) match.Request {
	out := match.Request{Method: r.Method, Path: r.Path, Host: r.Host, Bucket: uint64(r.Bucket), HTTP2: r.HTTP2}
	if t.Peer.TLS != nil {
		out.Scheme = "https"
	}
	// What only Envoy and the stand-ins look at counts among the headers.
	out.Headers = headers(wire(t, r, "").Header)
	return out
}

// kinds are the words of the matcher.
var kinds = map[match.Kind]string{
	match.NoHost: noRoute, match.NoRoute: noRoute, match.Redirect: redirect, match.Direct: direct,
	match.Fault: aborted, match.Preflight: preflight, match.Forward: forward, match.BadRequest: badRequest,
}

// predict puts an outcome of the matcher into the words of Fate.
func (t *Target) predict(out match.Outcome, r generate.Request) Fate {
	f := Fate{Kind: kinds[out.Kind], Status: statusOf(out, r), GRPC: out.GRPCStatus, Location: out.Location}
	if out.Route != nil {
		f.Route = out.Route.Name
	}
	if p := out.Fault; p != nil && p.AbortPercent < 100 && float64(r.Bucket) < p.AbortPercent*10_000 {
		f.Location = ""
		f.local(aborted, p.AbortStatus, r)
		return f
	}
	if f.GRPC != 0 {
		f.Status = http.StatusOK
	}
	switch f.Kind {
	case forward:
		t.predictForward(&f, out, r)
	case direct, redirect:
		f.Response = mutated(nil, out.ResponseHeaders...)
	}
	if f.Kind != aborted {
		f.CORS = cors(out.CORS, r, f.Kind == preflight)
	}
	f.Delayed = out.Fault != nil && out.Fault.DelayPercent == 100
	return f
}

// statusOf is what the client sees: HTTP/2 has no answer to too many headers.
func statusOf(out match.Outcome, r generate.Request) int {
	if r.HTTP2 && out.Status == http.StatusRequestHeaderFieldsTooLarge {
		return http.StatusBadRequest
	}
	return out.Status
}

func (t *Target) predictForward(f *Fate, out match.Outcome, r generate.Request) {
	if !t.clusters[out.Cluster] {
		f.local(noCluster, out.MissingStatus, r)
		return
	}
	f.Kind, f.Cluster, f.Path, f.Host = forward, out.Cluster, out.Path, out.Host
	f.Status = http.StatusOK
	switch {
	case r.Fail != 0:
		f.Status = r.Fail
	case upgrades(r):
		f.Status = http.StatusSwitchingProtocols
	}
	destination := match.Destination{}
	if out.Picked >= 0 {
		destination = out.Destinations[out.Picked]
	}
	if destination.Host != "" {
		f.Host = destination.Host
	}
	f.Timeout = timeout(out.Treatment)
	f.Attempts = attempts(out.Retries, r.Fail)
	f.Mirrors = t.mirrors(out.Mirrors)
	f.Request = mutated(r.Header, slices.Concat(destination.RequestHeaders, out.RequestHeaders)...)
	f.Response = mutated(r.Answer, slices.Concat(destination.ResponseHeaders, out.ResponseHeaders)...)
}

// upgrades tells whether Envoy hands on the wish for another protocol, to which
// stand-ins agree.
func upgrades(r generate.Request) bool {
	wanted := header(r.Header, "upgrade")
	return wanted != "" && wanted != "h2c" && strings.Contains(strings.ToLower(header(r.Header, "connection")), "upgrade")
}

// local makes it an answer of Envoy itself; one to gRPC has a status of its
// own.
func (f *Fate) local(kind string, status int, r generate.Request) {
	f.Kind, f.Status = kind, status
	var kinds []string
	for _, h := range r.Header {
		if strings.EqualFold(h[0], "content-type") {
			kinds = append(kinds, h[1])
		}
	}
	rest, ok := strings.CutPrefix(strings.Join(kinds, ","), "application/grpc")
	if !ok || rest != "" && rest[0] != '+' {
		return
	}
	f.Status, f.GRPC = http.StatusOK, 2
	switch status {
	case 400:
		f.GRPC = 13
	case 401:
		f.GRPC = 16
	case 403:
		f.GRPC = 7
	case 404:
		f.GRPC = 12
	case 429, 502, 503, 504:
		f.GRPC = 14
	}
}

// timeout is what Envoy tells an upstream: that of a try, unless that of all
// is shorter.
func timeout(t match.Treatment) string {
	d := t.Timeout
	if t.Retries != nil && t.Retries.PerTry > 0 && (d == 0 || t.Retries.PerTry < d) {
		d = t.Retries.PerTry
	}
	if d == 0 {
		return ""
	}
	return strconv.FormatInt(d.Milliseconds(), 10)
}

// attempts returns how often upstreams that answer with a status are asked.
func attempts(retries *match.Retries, status int) int {
	if retries == nil || status == 0 {
		return 1
	}
	for on := range strings.SplitSeq(retries.On, ",") {
		var again bool
		switch strings.TrimSpace(on) {
		case "5xx":
			again = status >= 500
		case "gateway-error":
			again = status >= 502 && status <= 504
		case "retriable-4xx":
			again = status == http.StatusConflict
		case "retriable-status-codes":
			again = slices.Contains(retries.StatusCodes, uint32(status))
		}
		if again {
			return 1 + int(retries.Attempts)
		}
	}
	return 1
}

// mirrors names the clusters that are there and get all requests; those that
// get a share are counted elsewhere.
func (t *Target) mirrors(list []match.Mirror) string {
	var out []string
	for _, m := range list {
		if m.Percent == 100 && t.clusters[m.Cluster] {
			out = append(out, m.Cluster)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// mutated returns the headers that mutations name, after them. Values that
// Envoy computes are left out, and so are the pseudo headers.
func mutated(before [][2]string, mutations ...match.Mutation) map[string]string {
	if len(mutations) == 0 {
		return nil
	}
	after := match.Mutate(headers(before), mutations)
	out := map[string]string{}
	for _, m := range mutations {
		name := strings.ToLower(m.Name)
		if strings.HasPrefix(name, ":") || name == "host" || computed(mutations, name) {
			continue
		}
		var values []string
		for _, h := range after {
			if strings.EqualFold(h.Name, name) {
				values = append(values, h.Value)
			}
		}
		out[name] = strings.Join(values, ",")
	}
	return out
}

// computed tells whether Envoy computes a value of a header.
func computed(mutations []match.Mutation, name string) bool {
	return slices.ContainsFunc(mutations, func(m match.Mutation) bool {
		return strings.EqualFold(m.Name, name) && strings.Contains(m.Value, "%")
	})
}

func headers(list [][2]string) []match.Header {
	var out []match.Header
	for _, h := range list {
		out = append(out, match.Header{Name: h[0], Value: h[1]})
	}
	return out
}

// cors returns the headers that a policy adds to an answer. A preflight of an
// origin that is not allowed is told all but those two.
func cors(policy *match.CORS, r generate.Request, preflight bool) map[string]string {
	origin := header(r.Header, "origin")
	if policy == nil || origin == "" {
		return nil
	}
	out := map[string]string{}
	set := func(when bool, name, value string) {
		if when && value != "" {
			out["access-control-"+name] = value
		}
	}
	set(policy.OriginAllowed, "allow-origin", origin)
	set(policy.AllowCredentials && (preflight || policy.OriginAllowed), "allow-credentials", "true")
	set(policy.OriginAllowed, "expose-headers", policy.ExposeHeaders)
	set(preflight, "allow-methods", policy.AllowMethods)
	set(preflight, "allow-headers", policy.AllowHeaders)
	set(preflight, "max-age", policy.MaxAge)
	if len(out) == 0 {
		return nil
	}
	return out
}

func header(list [][2]string, name string) string {
	for _, h := range list {
		if strings.EqualFold(h[0], name) {
			return h[1]
		}
	}
	return ""
}
