package spans

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
)

// of makes a span of a service. Ids are single bytes; a parent of 0 is none.
func of(service string, trace, id, parent byte) *tracepb.ResourceSpans {
	p := &tracepb.Span{
		TraceId: []byte{trace}, SpanId: []byte{id}, Name: "GET /", StartTimeUnixNano: 1_000_000_000, EndTimeUnixNano: 1_002_000_000,
	}
	if parent != 0 {
		p.ParentSpanId = []byte{parent}
	}
	return &tracepb.ResourceSpans{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{{
			Key: "service.name", Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: service}},
		}}},
		ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{p}}},
	}
}

// TestSpansOfProxies sends what Envoy's tracer for OpenTelemetry sends, and asks
// as users of Jaeger do.
func TestSpansOfProxies(t *testing.T) {
	s := New()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	s.Register(g)
	go func() { _ = g.Serve(listener) }() // ends by Stop
	t.Cleanup(g.Stop)
	conn, err := grpc.NewClient("passthrough:///"+listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, proxy := range []*tracepb.ResourceSpans{of("gateway", 1, 1, 0), of("web", 1, 2, 1), of("gateway", 2, 3, 0)} {
		const method = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
		if err := conn.Invoke(t.Context(), method, &tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{proxy}}, &emptypb.Empty{}); err != nil {
			t.Fatal(err)
		}
	}
	api := httptest.NewServer(s.Handler())
	t.Cleanup(api.Close)
	for _, c := range []struct{ path, want string }{
		{"/api/services", `{"data": ["gateway", "web"], "total": 2}`},
		{"/api/traces?service=web", `{"data": [{
			"traceID": "01",
			"spans": [
				{"traceID": "01", "spanID": "01", "operationName": "GET /", "references": [], "startTime": 1000000, "duration": 2000, "processID": "p1"},
				{"traceID": "01", "spanID": "02", "operationName": "GET /", "references": [{"refType": "CHILD_OF", "traceID": "01", "spanID": "01"}],
					"startTime": 1000000, "duration": 2000, "processID": "p2"}],
			"processes": {"p1": {"serviceName": "gateway"}, "p2": {"serviceName": "web"}}
		}], "total": 1}`},
		{"/api/traces?service=nobody", `{"data": [], "total": 0}`},
	} {
		code, body := get(t, api.URL+c.path)
		if diff := cmp.Diff(parse(t, c.want), parse(t, body)); code != http.StatusOK || diff != "" {
			t.Errorf("GET %s: %d (-want +got):\n%s", c.path, code, diff)
		}
	}
	if _, body := get(t, api.URL+"/api/traces?service=gateway&limit=1"); !strings.Contains(body, `"traceID":"02"`) || strings.Contains(body, `"traceID":"01"`) {
		t.Errorf("the latest trace of the gateway: %s", body)
	}
	for _, path := range []string{"/api/traces", "/api/traces?service=web&limit=0"} {
		if code, _ := get(t, api.URL+path); code != http.StatusBadRequest {
			t.Errorf("GET %s: %d, want 400", path, code)
		}
	}
}

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

func parse(t *testing.T, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// TestOldTracesAreForgotten as wholes; one that is too long by itself, too.
func TestOldTracesAreForgotten(t *testing.T) {
	s := New()
	s.most = 3
	for _, step := range []struct {
		trace byte
		want  []string
	}{
		{1, []string{"01"}},
		{1, []string{"01"}},
		{2, []string{"02", "01"}},
		{2, []string{"02"}},
		{2, []string{"02"}},
		{2, nil},
		{2, []string{"02"}},
	} {
		s.add(&tracepb.TracesData{ResourceSpans: []*tracepb.ResourceSpans{of("web", step.trace, 1, 0)}})
		var got []string
		for _, f := range s.of("web", 10) {
			got = append(got, f.id)
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("after another span of trace %d (-want +got):\n%s", step.trace, diff)
		}
	}
}
