package cli_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"mizzen.dev/mizzen/lab/internal/process"
	"mizzen.dev/mizzen/lab/internal/shop/load"
	"mizzen.dev/mizzen/lab/internal/shop/loadapi"
	"mizzen.dev/mizzen/lab/internal/state"
)

// pretend writes the status of a lab whose supervisor is this test, with the
// relays of its one cluster.
func pretend(t *testing.T, phase state.Phase, urls map[string]string) lab {
	t.Helper()
	self, err := process.Self()
	if err != nil {
		t.Fatal(err)
	}
	l := lab{dir: state.Dir(t.TempDir())}
	s := state.Status{State: state.Ready, Supervisor: self, Clusters: []state.Cluster{{Name: "cluster-1", State: phase, URLs: urls}}}
	if err := l.dir.WriteStatus(s); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLoad(t *testing.T) {
	api := loadapi.New(nil)
	pod := httptest.NewServer(api.Handler())
	t.Cleanup(func() {
		pod.Close()
		api.Close()
	})
	l := pretend(t, state.Ready, map[string]string{"load": pod.URL})
	if text := l.must(t, "load", "report"); !strings.HasPrefix(text, "idle") {
		t.Error(text)
	}
	// The control API itself is what answers the requests.
	l.must(t, "load", "start", "--qps", "100", "--connections", "2", "--requests", "5", "--target", "health="+pod.URL+"/healthz")
	eventually(t, "the load to end", func() bool { return api.Report().State == load.Done })
	if text := l.must(t, "load", "report"); !strings.Contains(text, "health") || !strings.Contains(text, "5 requests") {
		t.Error(text)
	}
	if text := l.must(t, "load", "stop", "-o", "json"); !strings.Contains(text, load.APIVersion) {
		t.Error(text)
	}
	l.must(t, "load", "start", "--target", pod.URL+"/healthz")
	refused(t, l, "runs already", "load", "start")
	l.must(t, "load", "stop")
}

func TestLoadSaysWhatIsMissing(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	refused(t, lab{dir: state.Dir(t.TempDir())}, "lab up --live", "load", "report")
	refused(t, pretend(t, state.Ready, map[string]string{"api": "x"}), "pods of this lab do not run", "load", "report")
	refused(t, pretend(t, state.Stopped, nil), "lab start cluster-1", "load", "report")
	l := pretend(t, state.Ready, map[string]string{"load": gone.URL})
	refused(t, l, "kubectl -n load get pods", "load", "report")
	refused(t, l, "want text or json", "load", "report", "-o", "xml")
	refused(t, l, "url", "load", "start", "--target", "x=y")
	refused(t, l, "qps", "load", "start", "--qps", "-1")
}

// refused runs a verb that has to fail with a message.
func refused(t *testing.T, l lab, message string, args ...string) {
	t.Helper()
	code, _, stderr := l.command(t, args...)
	if code != 2 || !strings.Contains(stderr, message) {
		t.Errorf("lab %s: exit code %d, %s; want %q", strings.Join(args, " "), code, stderr, message)
	}
}
