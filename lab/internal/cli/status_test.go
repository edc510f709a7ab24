package cli

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"mizzen.dev/mizzen/lab/internal/state"
)

func TestTracingIsShownWhereItRuns(t *testing.T) {
	server := func(code int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/services" {
				code = http.StatusNotFound
			}
			w.WriteHeader(code)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	jaeger, starting, silent := server(http.StatusOK), server(http.StatusServiceUnavailable), httptest.NewServer(nil)
	silent.Close()
	for _, c := range []struct {
		what, url string
		state     state.Phase
		shown     bool
	}{
		{"Jaeger", jaeger, state.Ready, true},
		{"Jaeger that starts", starting, state.Ready, false},
		{"nobody", silent.URL, state.Ready, false},
		{"a lab that is down", jaeger, state.Stopped, false},
	} {
		s := state.Status{Clusters: []state.Cluster{{State: c.state, URLs: map[string]string{"tracing": c.url, "gateway": silent.URL}}}}
		dropSilent(t.Context(), s)
		urls := s.Clusters[0].URLs
		if _, shown := urls["tracing"]; shown != c.shown || urls["gateway"] == "" {
			t.Errorf("%s: %v", c.what, urls)
		}
	}
}
