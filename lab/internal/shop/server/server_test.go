package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"mizzen.dev/mizzen/lab/internal/shop"
	"mizzen.dev/mizzen/lab/internal/shop/server"
	"mizzen.dev/mizzen/lab/internal/shop/settings"
)

// running is a server on loopback.
type running struct {
	web, rpc string // host:port
	// stop is SIGTERM; ended gives what Run returned.
	stop  context.CancelFunc
	ended chan error
}

// start starts a server whose environment is NAME=VALUE pairs.
func start(t *testing.T, env ...string) running {
	t.Helper()
	s, err := settings.Parse(func(name string) string {
		for _, pair := range env {
			if v, found := strings.CutPrefix(pair, name+"="); found {
				return v
			}
		}
		if name == "GRACE" {
			return "0"
		}
		return ""
	})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(s)
	if err != nil {
		t.Fatal(err)
	}
	web, rpc := listen(t), listen(t)
	ctx, stop := context.WithCancel(context.Background())
	r := running{web.Addr().String(), rpc.Addr().String(), stop, make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ended <- srv.Run(ctx, web, rpc)
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
	if s.StartupDelay == 0 {
		eventually(t, "the server to be ready", func() bool { return get(t, "http://"+r.web+"/healthz").status == http.StatusOK })
	}
	return r
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

type answer struct {
	status int
	header http.Header
	body   string
	reply  shop.Reply
}

func get(t *testing.T, url string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Add(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, body: string(body)}
	_ = json.Unmarshal(body, &a.reply) // not every answer is a Reply
	return a
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

func TestTreeOfCalls(t *testing.T) {
	for _, mode := range []string{"sequence", "parallel"} {
		t.Run(mode, func(t *testing.T) {
			ratings := start(t, "APP=ratings")
			reviews := start(t, "APP=reviews", "VERSION=v2", "CALLS=http://"+ratings.web+"/stars")
			web := start(t, "APP=web", "CALLS_MODE="+mode, "CALLS=grpc://"+reviews.rpc+"/all http://"+ratings.web+"/")
			a := get(t, "http://"+web.web+"/catalog", "X-Forwarded-Client-Cert: URI=spiffe://me")
			if a.status != 200 || a.reply.Path != "/catalog" || a.reply.XFCC != "URI=spiffe://me" || a.reply.From == "" {
				t.Errorf("%d %s", a.status, a.body)
			}
			var got []string
			a.reply.Walk(func(_ string, r *shop.Reply) {
				got = append(got, fmt.Sprintf("%s %s %d %s", r.App, r.Version, r.Status, r.Path))
			})
			want := map[string]int{"web v1 200 /catalog": 1, "reviews v2 200 /all": 1, "ratings v1 200 /stars": 1, "ratings v1 200 /": 1}
			counts := map[string]int{}
			for _, line := range got {
				counts[line]++
			}
			if diff := cmp.Diff(want, counts); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHeadersAreHandedOn(t *testing.T) {
	sent := map[string]string{
		"Traceparent": "00-1-2-01", "Tracestate": "a=b", "B3": "1-2", "X-B3-Traceid": "5", "X-B3-Sampled": "1",
		"X-Request-Id": "r", "Baggage": "k=v", "X-Ot-Span-Context": "s", "End-User": "jason",
	}
	seen := make(chan http.Header, 2)
	var mu sync.Mutex
	leaf := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen <- r.Header
	})}
	l := listen(t)
	go func() { _ = leaf.Serve(l) }()
	t.Cleanup(func() { _ = leaf.Close() })
	// Once through HTTP alone, once through gRPC on the way.
	middle := start(t, "CALLS=http://"+l.Addr().String()+"/")
	front := start(t, "CALLS=grpc://"+middle.rpc)
	for _, s := range []running{middle, front} {
		headers := []string{"Cookie: secret", "X-Forwarded-Client-Cert: mine"}
		for name, value := range sent {
			headers = append(headers, name+": "+value)
		}
		// The leaf answers no Reply, but 200.
		if a := get(t, "http://"+s.web+"/", headers...); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		got := <-seen
		for name, value := range sent {
			if got.Get(name) != value {
				t.Errorf("%s: %q, want %q", name, got.Get(name), value)
			}
		}
		if got.Get("Cookie") != "" || got.Get("X-Forwarded-Client-Cert") != "" {
			t.Errorf("handed on what it should not: %v", got)
		}
	}
}

func TestErrors(t *testing.T) {
	bad := start(t, "APP=bad", "ERRORS=1:503")
	nobody := listen(t)
	gone := nobody.Addr().String()
	nobody.Close()
	over := start(t, "APP=over", "CALLS=http://"+bad.web+"/ grpc://"+bad.rpc+" http://"+gone+"/ grpc://"+gone)
	if a := get(t, "http://"+bad.web+"/"); a.status != 503 || a.reply.Status != 503 || a.reply.Error == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	a := get(t, "http://"+over.web+"/")
	got := map[string]int{}
	for u, c := range a.reply.Calls {
		got[u] = c.Status
	}
	want := map[string]int{"http://" + bad.web + "/": 503, "grpc://" + bad.rpc: 503, "http://" + gone + "/": 599, "grpc://" + gone: 503}
	if diff := cmp.Diff(want, got); a.status != 502 || diff != "" {
		t.Errorf("%d %s", a.status, diff)
	}
	if c := a.reply.Calls["grpc://"+bad.rpc]; c.App != "bad" {
		t.Errorf("the failed gRPC call has lost its Reply: %+v", c)
	}
	if c := a.reply.Calls["http://"+gone+"/"]; !strings.HasPrefix(c.Error, "connection refused: ") {
		t.Errorf("%q", c.Error)
	}
}

func TestSeedRepeatsErrors(t *testing.T) {
	pattern := func() string {
		s := start(t, "ERRORS=0.5", "SEED=42")
		var b strings.Builder
		for range 40 {
			fmt.Fprintf(&b, "%d ", get(t, "http://"+s.web+"/").status)
		}
		return b.String()
	}
	a, b := pattern(), pattern()
	if a != b || !strings.Contains(a, "200") || !strings.Contains(a, "500") {
		t.Errorf("%s\n%s", a, b)
	}
}

func TestCallTimesOut(t *testing.T) {
	slow := start(t, "LATENCY=30s")
	front := start(t, "TIMEOUT=50ms", "CALLS=http://"+slow.web+"/ grpc://"+slow.rpc)
	a := get(t, "http://"+front.web+"/")
	for u, c := range a.reply.Calls {
		if c.Status != shop.StatusNoAnswer || !strings.HasPrefix(c.Error, "timeout: ") {
			t.Errorf("%s: %d %s", u, c.Status, c.Error)
		}
	}
}

func TestLife(t *testing.T) {
	s := start(t, "STARTUP_DELAY=300ms", "GRACE=5s", "MEMORY=1Mi")
	conn, err := grpc.NewClient(s.rpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	serving := func() bool {
		r, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{})
		return err == nil && r.Status == grpc_health_v1.HealthCheckResponse_SERVING
	}
	if a := get(t, "http://"+s.web+"/healthz"); a.status == 503 {
		// Unless this machine took longer than the delay to get here.
		if serving() && get(t, "http://"+s.web+"/healthz").status == 503 {
			t.Error("gRPC says that it serves while it starts")
		}
	}
	eventually(t, "readiness", func() bool { return get(t, "http://"+s.web+"/healthz").status == 200 })
	eventually(t, "gRPC's readiness", serving)
	c := keep(t, s.web)
	if a := c.get(t, "/"); a.status != 200 || a.header.Get("Connection") == "close" {
		t.Errorf("%d %v", a.status, a.header)
	}
	s.stop()
	// An open connection has an answer, then ends; health fails, the shop does
	// not.
	if a := c.get(t, "/healthz"); a.status != 200 && a.status != 503 {
		t.Errorf("healthz while it drains: %d", a.status)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

func TestDrains(t *testing.T) {
	s := start(t, "GRACE=5s")
	s.stop()
	eventually(t, "readiness to fail", func() bool { return get(t, "http://"+s.web+"/healthz").status == 503 })
	a := get(t, "http://"+s.web+"/")
	if a.status != 200 {
		t.Errorf("a request while it drains: %d %s", a.status, a.body)
	}
	if raw := keep(t, s.web).get(t, "/"); raw.header.Get("Connection") != "close" {
		t.Errorf("connections are kept while it drains: %v", raw.header)
	}
}

// kept is a connection that is used again, without a client that hides what
// becomes of it.
type kept struct {
	net.Conn
	r *bufio.Reader
}

func keep(t *testing.T, address string) kept {
	t.Helper()
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return kept{conn, bufio.NewReader(conn)}
}

func (k kept) get(t *testing.T, path string) answer {
	t.Helper()
	fmt.Fprintf(k, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
	res, err := http.ReadResponse(k.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.Close { // ReadResponse takes it out of the header
		res.Header.Set("Connection", "close")
	}
	return answer{status: res.StatusCode, header: res.Header, body: string(body)}
}

func TestTools(t *testing.T) {
	s := start(t, "APP=tools")
	base := "http://" + s.web
	for path, want := range map[string]int{
		"/status/204": 204, "/status/503": 503, "/status/100": 400, "/status/x": 400,
		"/delay?d=1ms": 200, "/delay?d=2m": 400, "/delay?d=-1s": 400, "/delay": 400,
		"/get": 400, "/get?url=file:///etc/passwd": 400, "/get?timeout=1h&url=http://127.0.0.1/": 400,
		"/get?url=" + url.QueryEscape(base+"/status/418"):              418,
		"/get?url=" + url.QueryEscape("grpc://"+s.rpc+"/x"):            200,
		"/get?timeout=1ms&url=" + url.QueryEscape(base+"/delay?d=20s"): 599,
		"/get?host=shop.lab&url=" + url.QueryEscape(base+"/headers"):   200,
		"/headers": 200, "/metrics": 200, "/anything/else": 200,
	} {
		if a := get(t, base+path); a.status != want {
			t.Errorf("%s: %d, want %d\n%s", path, a.status, want, a.body)
		}
	}
	if a := get(t, base+"/headers", "X-Mine: 1"); !strings.Contains(a.body, `"X-Mine":["1"]`) {
		t.Error(a.body)
	}
	if a := get(t, base+"/get?host=shop.lab&url="+url.QueryEscape(base+"/headers")); !strings.Contains(a.body, `"host":"shop.lab"`) {
		t.Error(a.body)
	}
	a := get(t, base+"/metrics")
	for _, line := range []string{
		`shop_ready{app="tools",version="v1"} 1`,
		`shop_request_duration_seconds_count{app="tools",protocol="http",status="200",version="v1"} 1`,
		`shop_request_duration_seconds_count{app="tools",protocol="grpc",status="200",version="v1"} 1`,
	} {
		if !strings.Contains(a.body, line) {
			t.Errorf("no %s", line)
		}
	}
}

func TestHTTP2InClear(t *testing.T) {
	s := start(t)
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	client := http.Client{Transport: &http.Transport{Protocols: protocols}}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://" + s.web + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
		t.Errorf("%s %s", res.Proto, res.Status)
	}
}

func TestBoundsOfRequests(t *testing.T) {
	s := start(t)
	large := get(t, "http://"+s.web+"/", "X-Large: "+strings.Repeat("x", 100<<10))
	if large.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("100 KiB of headers: %d", large.status)
	}
	res, err := http.Post("http://"+s.web+"/delay", "application/x-www-form-urlencoded", strings.NewReader("d=1ms&x="+strings.Repeat("x", 2<<20)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("2 MiB of body: %s", res.Status)
	}
}
