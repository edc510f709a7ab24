package mesh

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// bookinfo are Istio's samples of that name, of the version that is compiled:
// the application, and with it each of the files that route, one at a time, as
// the pages of Istio's documentation apply them.
func bookinfo(t *testing.T) map[string]string {
	t.Helper()
	module, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "istio.io/istio").Output()
	if err != nil {
		t.Fatalf("find the module of Istio: %v", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(module)), "samples", "bookinfo")
	application := simulated(readFile(t, filepath.Join(dir, "platform/kube/bookinfo.yaml"))) +
		"\n---\n" + readFile(t, filepath.Join(dir, "platform/kube/bookinfo-versions.yaml"))
	subsets := readFile(t, filepath.Join(dir, "networking/destination-rule-all.yaml"))

	texts := map[string]string{}
	for name, text := range scenarioFiles(t, filepath.Join(dir, "networking"), application) {
		if !strings.HasPrefix(name, "destination-rule") {
			text += "\n---\n" + subsets
		}
		texts["bookinfo-"+name] = text
	}
	for name, text := range scenarioFiles(t, filepath.Join(dir, "gateway-api"), application) {
		// As that page of the documentation says where nobody gives out addresses.
		texts["bookinfo-gwapi-"+name] = strings.ReplaceAll(text, "metadata:\n  name: bookinfo-gateway\n",
			"metadata:\n  name: bookinfo-gateway\n  annotations: {networking.istio.io/service-type: ClusterIP}\n")
	}
	if len(texts) < 25 {
		t.Fatalf("%s has %d files that route, want 25 at least", dir, len(texts))
	}
	return texts
}
