package loadapi_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mizzen.dev/mizzen/lab/internal/shop/load"
	"mizzen.dev/mizzen/lab/internal/shop/loadapi"
	"mizzen.dev/mizzen/lab/internal/shop/server"
	"mizzen.dev/mizzen/lab/internal/shop/settings"
)

// shop starts a server of the shop on loopback and returns its URL.
func shop(t *testing.T, env map[string]string) string {
	t.Helper()
	s, err := settings.Parse(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	s.Grace = 0
	srv, err := server.New(s)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- srv.Run(ctx, l, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	url := "http://" + l.Addr().String() + "/"
	eventually(t, "the shop", func() bool {
		code, _ := ask(t, http.MethodGet, url+"healthz", "")
		return code == http.StatusOK
	})
	return url
}

func control(t *testing.T, byDefault *load.Config) string {
	t.Helper()
	api := loadapi.New(byDefault)
	s := httptest.NewServer(api.Handler())
	t.Cleanup(func() {
		s.Close()
		api.Close()
	})
	return s.URL
}

func ask(t *testing.T, method, url, body string, headers ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(data)
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

func report(t *testing.T, api string) load.Report {
	t.Helper()
	_, body := ask(t, http.MethodGet, api+"/report", "")
	var r load.Report
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	return r
}

func finished(t *testing.T, api string) load.Report {
	t.Helper()
	eventually(t, "the load to end", func() bool { return report(t, api).State == load.Done })
	return report(t, api)
}

// body returns a configuration of targets as JSON.
func body(t *testing.T, c load.Config) string {
	t.Helper()
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestLoadOnTwoServers(t *testing.T) {
	reviews := shop(t, map[string]string{"APP": "reviews", "VERSION": "v2", "ERRORS": "0.2:503", "SEED": "1"})
	web := shop(t, map[string]string{"APP": "web", "CALLS": reviews})
	api := control(t, nil)
	config := body(t, load.Config{
		Targets:  []load.Target{{Name: "home", URL: web, Weight: 3}, {Name: "reviews", URL: reviews + "x"}},
		Requests: 400, Connections: 4,
	})
	if code, answer := ask(t, http.MethodPost, api+"/start", config); code != http.StatusAccepted {
		t.Fatalf("%d %s", code, answer)
	}
	r := finished(t, api)
	if r.APIVersion != load.APIVersion || r.Total.Requests != 400 || r.Unsent != 0 || r.OpenLoop || len(r.Targets) != 2 {
		t.Fatalf("%+v", r)
	}
	home, direct := r.Targets[0], r.Targets[1]
	if home.Requests != 300 || direct.Requests != 100 {
		t.Errorf("%d and %d requests, want them 3 to 1", home.Requests, direct.Requests)
	}
	if r.Total.Failed != home.Failed+direct.Failed || r.Total.Failed == 0 || r.Clean() {
		t.Errorf("%d failed, of which %d and %d", r.Total.Failed, home.Failed, direct.Failed)
	}
	if home.Statuses["502"] != home.Failed || direct.Statuses["503"] != direct.Failed {
		t.Errorf("%v and %v", home.Statuses, direct.Statuses)
	}
	if len(home.Versions) != 2 || home.Versions[0].Name != "reviews v2" || home.Versions[1].Name != "web v1" || home.Versions[0].Failed != home.Failed {
		t.Errorf("%+v", home.Versions)
	}
	want := strings.TrimSuffix(reviews, "/")
	if len(home.Failures) != 1 || !strings.Contains(home.Failures[0].Reason, "status 503 by reviews v2") {
		t.Errorf("failures of %s: %+v", want, home.Failures)
	}
	checkOtherForms(t, api)
}

// checkOtherForms looks at the same report as text and metrics.
func checkOtherForms(t *testing.T, api string) {
	t.Helper()
	_, byQuery := ask(t, http.MethodGet, api+"/report?format=text", "")
	_, byAccept := ask(t, http.MethodGet, api+"/report", "", "Accept: text/plain")
	for _, part := range []string{"400 requests", "reviews v2", "home", "failed requests", "status 503 by reviews v2"} {
		if !strings.Contains(byQuery, part) || !strings.Contains(byAccept, part) {
			t.Errorf("no %q in:\n%s", part, byQuery)
		}
	}
	_, metrics := ask(t, http.MethodGet, api+"/metrics", "")
	for _, line := range []string{
		`load_version_requests_total{target="home",version="web v1"} 300`,
		`load_request_duration_seconds_count{target="reviews"} 100`,
		`load_failed_requests_total{target="home"}`, `load_answers_total{status="200",target="home"}`,
	} {
		if !strings.Contains(metrics, line) {
			t.Errorf("no %s in:\n%s", line, metrics)
		}
	}
	if code, _ := ask(t, http.MethodGet, api+"/report?format=xml", ""); code != http.StatusBadRequest {
		t.Errorf("format=xml: %d", code)
	}
}

// A server that answers one request at a time, and slowly, is behind a rate
// more and more: latency has to count from when requests were due.
func TestStallIsNotOmitted(t *testing.T) {
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-time.After(20 * time.Millisecond) }))
	t.Cleanup(slow.Close)
	api := control(t, nil)
	config := body(t, load.Config{Targets: []load.Target{{URL: slow.URL}}, QPS: 1000, Requests: 50, Connections: 1})
	if code, answer := ask(t, http.MethodPost, api+"/start", config); code != http.StatusAccepted {
		t.Fatalf("%d %s", code, answer)
	}
	r := finished(t, api)
	// The last was due after 49 ms, and answered after 50 × 20 ms at least.
	if l := r.Total.Latency; l.Max < 0.95 || l.P50 < 0.45 || !r.OpenLoop {
		t.Errorf("%+v", l)
	}
	if r.Total.Requests != 50 || r.Unsent != 0 || !r.Clean() {
		t.Errorf("%+v", r.Total)
	}
}

func TestErrorClasses(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			<-r.Context().Done()
		case "/half":
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("half"))
		case "/close":
			panic(http.ErrAbortHandler)
		case "/redirect":
			http.Redirect(w, r, "/close", http.StatusFound)
		}
	}))
	t.Cleanup(broken.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	api := control(t, nil)
	config := load.Config{Requests: 12, Connections: 1, Timeout: load.Duration(3 * time.Second), Targets: []load.Target{
		{Name: "timeout", URL: broken.URL + "/slow"},
		{Name: "half", URL: broken.URL + "/half"},
		{Name: "closed", URL: broken.URL + "/close", Method: http.MethodPost},
		{Name: "refused", URL: gone.URL},
		{Name: "redirect", URL: broken.URL + "/redirect"},
		{Name: "good", URL: broken.URL},
	}}
	if code, answer := ask(t, http.MethodPost, api+"/start", body(t, config)); code != http.StatusAccepted {
		t.Fatalf("%d %s", code, answer)
	}
	want := map[string]string{
		"timeout": "no answer: timeout", "half": "no answer: connection closed", "closed": "no answer: connection closed",
		"refused": "no answer: connection refused", "redirect": "", "good": "",
	}
	for _, target := range finished(t, api).Targets {
		reason := ""
		for _, f := range target.Failures {
			reason = f.Reason
		}
		if reason != want[target.Name] || len(target.Failures) > 1 || target.Requests != 2 {
			t.Errorf("%s: %+v, want %q", target.Name, target.Failures, want[target.Name])
		}
	}
}

func TestControl(t *testing.T) {
	target := shop(t, nil)
	yes := load.Config{Targets: []load.Target{{Name: "default", URL: target}}, QPS: 200}
	api := control(t, &yes)
	if r := report(t, api); r.State != load.Idle {
		t.Errorf("before the start: %s", r.State)
	}
	if _, text := ask(t, http.MethodGet, api+"/report?format=text", ""); !strings.HasPrefix(text, "idle") {
		t.Error(text)
	}
	if code, _ := ask(t, http.MethodPost, api+"/stop", ""); code != http.StatusOK {
		t.Errorf("stop of an idle load: %d", code)
	}
	for name, bad := range map[string]string{"no JSON": "{", "no target": "{}", "large": `{"x":"` + strings.Repeat("x", 100<<10) + `"}`} {
		if code, _ := ask(t, http.MethodPost, api+"/start", bad); code != http.StatusBadRequest {
			t.Errorf("%s: %d", name, code)
		}
	}
	if code, _ := ask(t, http.MethodPost, api+"/start", "", "Sec-Fetch-Site: cross-site"); code != http.StatusForbidden {
		t.Errorf("a foreign page: %d", code)
	}
	if code, answer := ask(t, http.MethodPost, api+"/start", ""); code != http.StatusAccepted {
		t.Fatalf("%d %s", code, answer)
	}
	if code, answer := ask(t, http.MethodPost, api+"/start", ""); code != http.StatusConflict {
		t.Errorf("a second start: %d %s", code, answer)
	}
	eventually(t, "ten requests", func() bool { return report(t, api).Total.Requests >= 10 })
	if code, _ := ask(t, http.MethodPost, api+"/stop", ""); code != http.StatusOK {
		t.Errorf("stop: %d", code)
	}
	r := report(t, api)
	if r.State != load.Stopped || r.Total.Failed != 0 || r.Targets[0].Name != "default" {
		t.Errorf("%+v", r)
	}
	// What was stopped can be started again.
	if code, _ := ask(t, http.MethodPost, api+"/start", ""); code != http.StatusAccepted {
		t.Errorf("a start after a stop: %d", code)
	}
}

func TestNothingToStart(t *testing.T) {
	code, answer := ask(t, http.MethodPost, control(t, nil)+"/start", "")
	if code != http.StatusBadRequest || !strings.Contains(answer, "TARGETS") {
		t.Errorf("%d %s", code, answer)
	}
}
