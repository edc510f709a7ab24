package match

import (
	"testing"
	"time"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// TestArrival says which headers a route sees; each case was asked of Envoy.
func TestArrival(t *testing.T) {
	edge := Options{Arrival: Arrival{Edge: true}}
	cases := []struct {
		name   string
		header string
		r      Request
		o      Options
		want   truth
	}{
		{"a proxy adds the scheme", `{name: x-forwarded-proto, stringMatch: {exact: http}}`, get("/"), Options{}, yes},
		{"and believes the client", `{name: x-forwarded-proto, stringMatch: {exact: https}}`, get("/", "X-Forwarded-Proto: https"), Options{}, yes},
		{"but not at an edge", `{name: x-forwarded-proto, stringMatch: {exact: https}}`, get("/", "x-forwarded-proto: https"), edge, no},
		{"unless there is another proxy before", `{name: x-forwarded-proto, stringMatch: {exact: https}}`, get("/", "x-forwarded-proto: https"), Options{Arrival: Arrival{Edge: true, TrustedHops: 1}}, yes},
		{"HTTP/1.1 gets its scheme from there", `{name: ":scheme", stringMatch: {exact: https}}`, get("/", "x-forwarded-proto: HTTPS"), Options{}, yes},
		{"if it is one", `{name: ":scheme", stringMatch: {exact: http}}`, get("/", "x-forwarded-proto: ftp"), Options{}, yes},
		{"and is alone", `{name: ":scheme", stringMatch: {exact: http}}`, get("/", "x-forwarded-proto: https", "x-forwarded-proto: http"), Options{}, yes},
		{"every request has an ID", `{name: x-request-id, presentMatch: true}`, get("/"), Options{}, yes},
		{"of which no more is known", `{name: x-request-id, stringMatch: {suffix: "0"}}`, get("/"), Options{}, unsure},
		{"unless the client says", `{name: x-request-id, stringMatch: {exact: "1"}}`, get("/", "x-request-id: 1"), Options{}, yes},
		{"to a proxy within", `{name: x-request-id, stringMatch: {exact: "1"}}`, get("/", "x-request-id: 1"), edge, unsure},
		{"an edge may keep it", `{name: x-request-id, stringMatch: {exact: "1"}}`, get("/", "x-request-id: 1"), Options{Arrival: Arrival{Edge: true, KeepsRequestID: true}}, yes},
		{"or add none", `{name: x-request-id, presentMatch: true}`, get("/"), Options{Arrival: Arrival{WithoutRequestID: true}}, no},
		{"an edge adds the address", `{name: x-forwarded-for, presentMatch: true}`, get("/"), edge, yes},
		{"or not", `{name: x-forwarded-for, presentMatch: true}`, get("/"), Options{Arrival: Arrival{Edge: true, LeavesForwardedFor: true}}, no},
		{"nobody else does", `{name: x-forwarded-for, presentMatch: true}`, get("/"), Options{}, no},
		{"the port is told if that is wanted", `{name: x-forwarded-port, presentMatch: true}`, get("/"), Options{Arrival: Arrival{AppendsForwardedPort: true}}, yes},
		{"by the client, too", `{name: x-forwarded-port, stringMatch: {exact: "1"}}`, get("/", "x-forwarded-port: 1"), Options{Arrival: Arrival{AppendsForwardedPort: true}}, yes},
		{"but not to an edge", `{name: x-forwarded-port, stringMatch: {exact: "1"}}`, get("/", "x-forwarded-port: 1"), Options{Arrival: Arrival{AppendsForwardedPort: true, Edge: true}}, unsure},
		{"nor unasked", `{name: x-forwarded-port, presentMatch: true}`, get("/"), Options{}, no},
		{"clients do not set timeouts", `{name: x-envoy-upstream-rq-timeout-ms, presentMatch: true}`, get("/", "x-envoy-upstream-rq-timeout-ms: 5"), Options{}, no},
		{"callers within name their operation", `{name: x-envoy-decorator-operation, presentMatch: true}`, get("/", "x-envoy-decorator-operation: a"), Options{}, yes},
		{"strangers do not", `{name: x-envoy-decorator-operation, presentMatch: true}`, get("/", "x-envoy-decorator-operation: a"), edge, no},
		{"a connection's headers end with it", `{name: connection, presentMatch: true}`, get("/", "connection: keep-alive"), Options{}, no},
		{"with those that it names", `{name: x-a, presentMatch: true}`, get("/", "connection: close, X-A", "x-a: 1"), Options{}, no},
		{"an upgrade has to be asked for twice", `{name: upgrade, presentMatch: true}`, get("/", "upgrade: websocket"), Options{}, no},
		{"as browsers do", `{name: upgrade, presentMatch: true}`, get("/", "upgrade: websocket", "connection: keep-alive, Upgrade"), Options{Upgrades: []string{"websocket"}}, yes},
		{"trailers are for all", `{name: te, presentMatch: true}`, get("/", "te: gzip, trailers"), Options{}, yes},
		{"nothing is", `{name: te, presentMatch: true}`, get("/", "te: "), Options{}, yes},
		{"codings are not", `{name: te, presentMatch: true}`, get("/", "te: gzip"), Options{}, no},
		{"nobody shows another's certificate", `{name: x-forwarded-client-cert, presentMatch: true}`, get("/", "x-forwarded-client-cert: By=x"), Options{}, no},
		{
			"unless that is wanted", `{name: x-forwarded-client-cert, presentMatch: true}`, get("/", "x-forwarded-client-cert: By=x"),
			Options{Arrival: Arrival{ClientCertificate: hcmv3.HttpConnectionManager_ALWAYS_FORWARD_ONLY}},
			yes,
		},
		{
			"in TLS it may have its own", `{name: x-forwarded-client-cert, presentMatch: true}`,
			Request{Method: "GET", Host: "h", Path: "/", Scheme: "https"},
			Options{Arrival: Arrival{ClientCertificate: hcmv3.HttpConnectionManager_SANITIZE_SET}},
			unsure,
		},
	}
	for _, c := range cases {
		out := Route(one(t, "{name: a, match: {prefix: /, headers: ["+c.header+"]}}"), c.r, c.o)
		got := truthOf(out.Route != nil)
		if len(out.Unsure) > 0 {
			got = unsure
		}
		if got != c.want {
			t.Errorf("%s: %d, want %d: %+v", c.name, got, c.want, out.Tried)
		}
	}
}

// TestMisusedConnection refuses what would hide where a request comes from.
func TestMisusedConnection(t *testing.T) {
	rc := one(t, `{name: a, match: {prefix: /}}`)
	if out := Route(rc, get("/", "connection: x-forwarded-proto"), Options{}); out.Kind != BadRequest || out.Status != 400 {
		t.Errorf("%s %d, want that it is refused", out.Kind, out.Status)
	}
	if out := Route(rc, get("/", "connection: te, cookie"), Options{}); out.Kind != Forward {
		t.Errorf("%s: %s", out.Kind, out.Why)
	}
}

// TestCookies reads cookies as Envoy was seen to.
func TestCookies(t *testing.T) {
	rc := one(t, `{name: a, match: {prefix: /, cookies: [{name: user, stringMatch: {exact: jason}}]}}`)
	for line, want := range map[string]bool{
		"user=jason": true, "a=b; user=jason; c=d": true, "a=b;user=jason": true, `user="jason"`: true, "user=jason; user=x": true,
		"user=x; user=jason": false, "USER=jason": false, "user =jason": false, "user= jason": false, "user=jason ; b=c": false,
		"b=c;\tuser=jason": false, "user=jason=x": false, "user": false,
	} {
		if got := Route(rc, get("/", "cookie: "+line), Options{}).Kind == Forward; got != want {
			t.Errorf("%s: %t", line, got)
		}
	}
	if Route(rc, get("/", "cookie: a=b", "Cookie: user=jason"), Options{}).Kind != Forward {
		t.Error("only the first Cookie header is read")
	}
}

// TestTimeouts bounds answers by the route, or by the caller of gRPC.
func TestTimeouts(t *testing.T) {
	grpc := func(timeout string) Request {
		return get("/", "content-type: application/grpc", "grpc-timeout: "+timeout)
	}
	cases := []struct {
		route string
		r     Request
		want  time.Duration
	}{
		{`timeout: 2s`, get("/"), 2 * time.Second},
		{`timeout: 2s`, grpc("1S"), 2 * time.Second},
		{`timeout: 2s, maxGrpcTimeout: 2s`, get("/", "grpc-timeout: 1S"), 2 * time.Second},
		{`timeout: 2s, maxGrpcTimeout: 2s`, grpc("1S"), time.Second},
		{`timeout: 2s, maxGrpcTimeout: 2s`, grpc("5S"), 2 * time.Second},
		{`timeout: 2s, maxGrpcTimeout: 2s`, grpc("1500u"), 2 * time.Millisecond},
		{`timeout: 2s, maxGrpcTimeout: 2s`, grpc("1500n"), time.Millisecond},
		{`timeout: 2s, maxGrpcTimeout: 2s`, grpc("1 S"), time.Second},
		{`timeout: 2s, maxGrpcTimeout: 2s`, grpc("1x"), 2 * time.Second},
		{`timeout: 2s, maxGrpcTimeout: 2s`, grpc("123456789m"), 2 * time.Second},
		{`timeout: 0s, maxGrpcTimeout: 0s`, grpc("1H"), time.Hour},
		{`timeout: 0s, maxGrpcTimeout: 0s`, get("/", "content-type: application/grpc"), 0},
		{`timeout: 2s, maxGrpcTimeout: 3s, grpcTimeoutOffset: 0.1s`, grpc("1S"), 900 * time.Millisecond},
		{`timeout: 2s, maxGrpcTimeout: 3s, grpcTimeoutOffset: 0.1s`, grpc("50m"), 50 * time.Millisecond},
		{`timeout: 2s, maxGrpcTimeout: 3s, grpcTimeoutOffset: 0.1s`, grpc("5S"), 3 * time.Second},
		{`timeout: 2s, maxStreamDuration: {maxStreamDuration: 3s}`, get("/"), 0},
		{`timeout: 1s, retryPolicy: {retryOn: 5xx, perTryTimeout: 0.5s}`, get("/"), time.Second},
		{`timeout: 1s, retryPolicy: {perTryTimeout: 0.5s}`, get("/"), 500 * time.Millisecond},
		{`timeout: 1s, retryPolicy: {retryOn: 5xx, numRetries: 0, perTryTimeout: 0.5s}`, get("/"), 500 * time.Millisecond},
	}
	for _, c := range cases {
		rc := one(t, "{name: a, match: {prefix: /}, route: {cluster: c, "+c.route+"}}")
		if got := Route(rc, c.r, Options{}).Timeout; got != c.want {
			t.Errorf("%s %v: %s, want %s", c.route, c.r.Headers, got, c.want)
		}
	}
}
