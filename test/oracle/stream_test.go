package oracle

import (
	"testing"
	"time"

	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/trial"
	"mizzen.dev/mizzen/test/oracle/internal/upstream"
)

// streams are routes that bound streams in all ways.
const streams = `[{name: streams, virtual_hosts: [{name: v, domains: ["*"], routes: [
	{match: {path: /none}, route: {cluster: c1, timeout: 0s}},
	{match: {path: /stream}, route: {cluster: c1, max_stream_duration: {max_stream_duration: 0.15s}}},
	{match: {path: /call}, route: {cluster: c1, max_stream_duration: {max_stream_duration: 0.15s, grpc_timeout_header_max: 0.3s}}},
	{match: {path: /inbound}, route: {cluster: c1, timeout: 0s, max_stream_duration: {max_stream_duration: 0s, grpc_timeout_header_max: 0s}}},
	{match: {path: /offset}, route: {cluster: c1, max_stream_duration: {grpc_timeout_header_max: 0.4s, grpc_timeout_header_offset: 0.1s}}}]}]}]`

// early is by how much Envoy's timers may be: they count from when it last
// looked at its clock.
const early = 20 * time.Millisecond

// TestStreamBounds sends requests that nobody answers: Envoy ends those whose
// streams are bounded, and not before that.
func TestStreamBounds(t *testing.T) {
	x := start(t, streams, map[string]any{}, map[string]any{"common_http_protocol_options": map[string]any{"max_stream_duration": "0.25s"}})
	held := [2]string{upstream.Hold, "forever"}
	for i, target := range x.Targets {
		for _, path := range []string{"/none", "/stream", "/call", "/inbound", "/offset"} {
			for _, timeout := range []string{"", "500m", "200m", "x", "0S"} {
				r := generate.Request{Method: "GET", Path: path, Host: "a.example.com"}
				if timeout != "" {
					r.Header = append(r.Header, [2]string{"grpc-timeout", timeout})
				}
				out := trial.Matcher(target, r)
				bounded := out.MaxStreamDuration > 0 || len(out.Unsure) > 0
				if bounded {
					r.Header = append(r.Header, held)
				}
				asked := time.Now()
				seen, err := x.Send(t.Context(), []generate.Call{plain(1001+i, r)}, 1, 0)
				if err != nil {
					t.Fatal(err)
				}
				passed, details := time.Since(asked), seen[0].Header.Get("x-o-details")
				if ended := details == "max_duration_timeout"; ended != bounded || passed < out.MaxStreamDuration-early {
					t.Errorf("%s: %s with grpc-timeout %q: %d %s after %v, predicted %v (%v)", target.Name, path, timeout, seen[0].Status, details, passed, out.MaxStreamDuration, out.Unsure)
				}
			}
		}
	}
}
