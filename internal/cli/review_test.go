package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mizzen.dev/mizzen"
)

// gitIn runs Git in the working directory.
func gitIn(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// newClone makes the working directory a clone of tower, with a branch.
func newClone(t *testing.T) {
	t.Helper()
	t.Chdir(write(t, tower))
	t.Setenv("KUBECONFIG", "/no/such/file")
	gitIn(t, "init", "-q", "-b", "main")
	gitIn(t, "add", "-A")
	gitIn(t, "commit", "-qm", "base")
}

func put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReview(t *testing.T) {
	newClone(t)
	mentions(t, must(t, ExitYes, "plan --base main").out, "nothing changes (2 applications unchanged)")
	gitIn(t, "checkout", "-qb", "feature")
	put(t, "web/templates/set.yaml", strings.ReplaceAll(tower["web/templates/set.yaml"], "\ndata: {", "\ndata: {more: \"1\", "))
	// The files as they are count, committed or not.
	got := must(t, ExitNo, "plan --base main")
	mentions(t, got.out, "working tree since", "web: 1 updated", "~ ConfigMap shop/web  web/templates/set.yaml:1", "data.more: (none) -> 1")
	mentions(t, got.err, "comparing working tree with", "where it parted from main")
	mentions(t, must(t, ExitYes, "plan --base main --head HEAD").out, "nothing changes")
	gitIn(t, "commit", "-qam", "more")
	// What main did meanwhile is not of this branch.
	gitIn(t, "checkout", "-q", "main")
	put(t, "apps/values.yaml", "name: other\n")
	gitIn(t, "commit", "-qam", "another name")
	got = must(t, ExitNo, "plan --base main --head feature")
	mentions(t, got.out, "data.more: (none) -> 1")
	if strings.Contains(got.out, "other") {
		t.Errorf("it shows what the base did:\n%s", got.out)
	}
	// From anywhere in the clone.
	t.Chdir("web")
	mentions(t, must(t, ExitNo, "plan --base main --head feature").out, "data.more")
	mentions(t, must(t, ExitNo, "plan --base main --head feature .").out, "web: 1 updated", "ConfigMap default/web")
	t.Chdir(t.TempDir())
	mentions(t, must(t, ExitUnknown, "plan --base main").err, "not in a Git working tree", "change to a clone")
}

func TestReviewFormats(t *testing.T) {
	reference := readReference(t)
	newClone(t)
	put(t, "web/templates/set.yaml", strings.ReplaceAll(tower["web/templates/set.yaml"], "\ndata:", "\ndta:"))
	var r mizzen.Review
	out := must(t, ExitNo, "plan --base HEAD -o json").out
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Schema != mizzen.ReviewSchema || len(r.Items) != 1 || r.Items[0].Application != "web" || r.Items[0].Findings[0].Code != mizzen.CodeUnknownField {
		t.Errorf("%s", out)
	}
	reference.check(t, "plan", out)
	mentions(t, must(t, ExitNo, "plan --base HEAD -o yaml").out, "schema: mizzen.dev/review/v1")
	mentions(t, must(t, ExitNo, "plan --base HEAD -o markdown").out, "<!-- mizzen plan -->", "<details open><summary>1 finding</summary>", "`web/templates/set.yaml:4`")
	mentions(t, must(t, ExitNo, "plan --base HEAD -o sarif").out, `"ruleId": "MZ2001"`, `"uri": "web/templates/set.yaml"`)
	mentions(t, must(t, ExitNo, "plan --base HEAD -o github").out, "::error file=web/templates/set.yaml,line=4,title=MZ2001 ")
}

func TestReviewFailOn(t *testing.T) {
	newClone(t)
	put(t, "web/values.yaml", "size: 2\n")
	put(t, "web/templates/set.yaml", strings.ReplaceAll(tower["web/templates/set.yaml"], "\ndata: {", "\ndata: {x: z, "))
	for on, code := range map[string]int{"none": ExitYes, "error": ExitYes, "deny": ExitYes, "approval": ExitYes, "change": ExitNo} {
		must(t, code, "plan --base HEAD --fail-on "+on)
	}
	put(t, "web/templates/set.yaml", "{{ fail \"no\" }}")
	for on, code := range map[string]int{"none": ExitYes, "error": ExitNo, "deny": ExitNo, "approval": ExitNo, "change": ExitNo} {
		mentions(t, must(t, code, "plan --base HEAD --fail-on "+on).out, "web: cannot be rendered")
	}
	mentions(t, must(t, ExitTimeout, "plan --base HEAD --timeout 1ns").err, "it is over")
	for args, want := range map[string]string{
		"plan --head HEAD":                    "name a base",
		"plan --base HEAD --all":              "leave out --all",
		"plan --base HEAD --out p.json":       "use -o json",
		"plan --base HEAD --revision HEAD":    "--head in the place",
		"plan --base HEAD --local . web":      "exclude each other",
		"plan --base HEAD web more":           "too much",
		"plan --base nowhere":                 "no such commit",
		"plan --base HEAD --head nowhere":     "no such commit",
		"plan --base HEAD nowhere":            "no such file",
		"plan --live":                         "name a base",
		"plan web --mesh-config f":            "name a base",
		"plan --base HEAD --cluster east":     "add --live",
		"plan --base HEAD --mesh-config none": "--mesh-config",
		"plan --base HEAD --live":             "name a kubeconfig",
		"plan --base HEAD --fail-on whenever": "none, error, deny, approval, change",
	} {
		mentions(t, must(t, ExitUnknown, args).err, want)
	}
}

// TestReviewMeshConfig: the mesh configuration of a file is that of both sides.
func TestReviewMeshConfig(t *testing.T) {
	t.Chdir(write(t, map[string]string{"mesh.yaml": shop}))
	t.Setenv("KUBECONFIG", "/no/such/file")
	gitIn(t, "init", "-q", "-b", "main")
	gitIn(t, "add", "-A")
	gitIn(t, "commit", "-qm", "base")
	put(t, "egress.yaml", "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: out, namespace: shop}\nspec: {hosts: [out.example], resolution: DNS, ports: [{number: 80, name: http, protocol: HTTP}]}\n")
	settings := write(t, map[string]string{"strict": "outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n", "wrong": "outboundTrafficPolicy: 3\n"})
	open := must(t, ExitNo, "plan --base HEAD").out
	strict := must(t, ExitNo, "plan --base HEAD --mesh-config "+settings+"/strict").out
	mentions(t, strict, "MT4004")
	if strings.Contains(open, "MT4004") {
		t.Errorf("egress is opened that was open:\n%s", open)
	}
	mentions(t, must(t, ExitNo, "plan --base HEAD --mesh-config "+settings+"/wrong").out, "the effects on traffic are not known", "--mesh-config")
}

// TestAnotherIstio: who asks is told that another Istio runs.
func TestAnotherIstio(t *testing.T) {
	const istiod = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: istiod, namespace: istio-system, labels: {app: istiod}}\nspec:\n  selector: {matchLabels: {app: istiod}}\n  template:\n    metadata: {labels: {app: istiod}}\n    spec: {containers: [{name: discovery, image: 'istio/pilot:1.40.0'}]}\n"
	t.Chdir(write(t, map[string]string{"mesh.yaml": shop + istiod}))
	t.Setenv("KUBECONFIG", "/no/such/file")
	mentions(t, must(t, ExitYes, "trace --from shop/web http://reviews/").err, "warning: istiod is Istio 1.40.0, newer than")
	mentions(t, must(t, ExitYes, "lint .").out, "MZ4002", "mesh.yaml:")
}
