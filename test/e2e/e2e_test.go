// Package e2e tells what a user does and sees, as text files: each file of
// testdata is a repository, commands, and what they answer. The binary runs
// against a real API server and a real Git server.
//
// Beyond the commands of testscript there are:
//
//	repo [USER PASSWORD] create a repository from the files below repo/, with a
//	                    webhook, and a Repository "demo" for it; one that asks
//	                    for a password, for which "demo" names the Secret "git"
//	app NAME PATH [YAML] create an Application of that path; YAML is merged into
//	                    its spec
//	push MESSAGE        commit everything below repo/ and push it
//	until RE CMD ARG…   run a command until its output matches; with ! until it
//	                    succeeds with an output that does not
//	apply FILE          apply a file of the script with kubectl, $NS filled in
//	condition APP TYPE RE  wait until a condition of an Application reads
//	                    "STATUS REASON MESSAGE" so; with ! until it does not
//	event REASON RE     wait for an Event of the namespace
//	exits CODE CMD ARG… run a command and compare its exit code
//	save                put the files below repo/ into the clone, uncommitted
//	git ARG…            run Git in the clone
//
// and the environment has NS, REPO_URL, CLONE, COMMIT (the clone's HEAD),
// KUBECONFIG, MIZZEN_URL and MIZZEN_STATE, the controller's state directory. In files $NS is filled in. Istio's CRDs are there.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"mizzen.dev/mizzen/internal/labtest"
)

// patience bounds every wait of a scenario. Nothing is said about speed.
var patience = flag.Duration("patience", 5*time.Minute, "how long a scenario waits for what is to come")

// secret signs the webhooks of all scenarios.
const secret = "e2e-webhook-secret"

// beside is how many tests, and scenarios, run beside each other: they have
// clusters of their own, and mostly wait.
const beside = "5"

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", beside); err != nil {
		panic(err)
	}
	flag.Parse()
	os.Exit(m.Run())
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	lab := labtest.Private(t, labtest.ControlPlane|labtest.Git)
	installIstio(t, lab)
	state := t.TempDir()
	// What has no end in charts.txtar burns a processor until then.
	url := launchAs(t, lab, state, "up --render-timeout 20s").ready().url()
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			s := &scenario{t: env.T().(testing.TB), lab: lab, url: url}
			s.ns = lab.NewNamespace(s.t)
			env.Values[scenarioKey{}] = s
			env.Setenv("NS", s.ns)
			env.Setenv("KUBECONFIG", lab.Kubeconfig)
			env.Setenv("MIZZEN_URL", url)
			env.Setenv("MIZZEN_STATE", state)
			env.Setenv("MIZZEN_NAMESPACE", s.ns)
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir)
			return s.admit()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"repo": repo, "app": application, "push": push, "until": until, "apply": applyText,
			"condition": condition, "event": event, "exits": exits, "save": save, "git": gitCommand,
		},
	})
}

// installIstio installs Istio's CRDs, as they are in the demo repository.
func installIstio(t *testing.T, lab *labtest.Lab) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.Command("../../bin/lab", "demo", "--write", dir).CombinedOutput(); err != nil {
		t.Fatalf("lab demo: %v\n%s", err, out)
	}
	crds := filepath.Join(dir, "helm-charts/istio-base/charts/base/files/crd-all.gen.yaml")
	out, err := exec.Command(lab.Kubectl(), "--kubeconfig", lab.Kubeconfig, "apply", "--server-side", "-f", crds).CombinedOutput()
	if err != nil {
		t.Fatalf("install Istio's CRDs: %v\n%s", err, out)
	}
}

type scenarioKey struct{}

// scenario is one file of testdata while it runs.
type scenario struct {
	t    testing.TB
	lab  *labtest.Lab
	url  string
	ns   string
	repo *labtest.Repo
}

func of(ts *testscript.TestScript) *scenario { return ts.Value(scenarioKey{}).(*scenario) }

// admit lets the namespace's default service account do what it likes within
// the namespace, as a tenant's would.
func (s *scenario) admit() error {
	return s.kubectl(fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant, namespace: %[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: default, namespace: %[1]s}]
`, s.ns))
}

// fill puts the namespace into a file of the script.
func (s *scenario) fill(text string) string { return strings.ReplaceAll(text, "$NS", s.ns) }

func (s *scenario) kubectl(yaml string) error {
	cmd := exec.Command(s.lab.Kubectl(), "--kubeconfig", s.lab.Kubeconfig, "apply", "--server-side", "-f", "-")
	cmd.Stdin = strings.NewReader(yaml)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// repo creates the scenario's repository and the Repository for it.
func repo(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	secretRef := ""
	switch len(args) {
	case 0:
		s.repo = s.lab.Repo(s.t, readFiles(ts))
	case 2:
		s.repo = s.lab.ProtectedRepo(s.t, args[0], args[1], readFiles(ts))
		secretRef = ", secretRef: {name: git}"
	default:
		ts.Fatalf("usage: repo [USER PASSWORD]")
	}
	s.repo.Hook(s.t, s.url+"/webhook", secret)
	ts.Setenv("REPO_URL", s.repo.URL)
	ts.Setenv("CLONE", s.repo.Dir)
	ts.Check(s.kubectl(fmt.Sprintf(`
apiVersion: v1
kind: Secret
metadata: {name: webhook, namespace: %[1]s}
stringData: {token: %[2]s}
---
apiVersion: mizzen.dev/v1alpha1
kind: Repository
metadata: {name: demo, namespace: %[1]s}
spec: {url: %[3]s, interval: 1h, webhookSecretRef: {name: webhook}%[4]s}
`, s.ns, secret, s.repo.URL, secretRef)))
}

// readFiles returns the files below repo/ of the script's directory.
func readFiles(ts *testscript.TestScript) map[string]string {
	root := ts.MkAbs("repo")
	files := map[string]string{}
	ts.Check(filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		files[name] = of(ts).fill(string(b))
		return err
	}))
	return files
}

func application(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: app NAME PATH [SPEC]")
	}
	spec := ""
	for _, line := range args[2:] {
		spec += "  " + line + "\n"
	}
	ts.Check(of(ts).kubectl(fmt.Sprintf(`
apiVersion: mizzen.dev/v1alpha1
kind: Application
metadata: {name: %s, namespace: %s}
spec:
  source: {repository: demo, path: %s}
%s`, args[0], of(ts).ns, args[1], spec)))
}

func push(ts *testscript.TestScript, _ bool, args []string) {
	s := of(ts)
	if len(args) != 1 {
		ts.Fatalf("usage: push MESSAGE")
	}
	save(ts, false, nil)
	ts.Setenv("COMMIT", s.repo.Push(s.t, s.repo.Commit(s.t, args[0], nil)))
}

// applyText applies a file of the script with kubectl, NS filled in.
func applyText(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: apply FILE")
	}
	ts.Check(of(ts).kubectl(of(ts).fill(ts.ReadFile(args[0]))))
}

// until runs a command until its output matches a regular expression. With ! it
// does so until the output does not match, which only that of a command that
// succeeds can tell.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: until RE CMD ARG...")
	}
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	var out string
	for deadline := time.Now().Add(*patience); time.Now().Before(deadline); {
		cmd := exec.Command(args[1], args[2:]...)
		cmd.Dir = ts.Getenv("WORK")
		cmd.Env = append(os.Environ(), "KUBECONFIG="+ts.Getenv("KUBECONFIG"), "PATH="+ts.Getenv("PATH"), "HOME="+ts.Getenv("HOME"))
		cmd.Path = lookPath(ts, args[1])
		b, err := cmd.CombinedOutput() // what is waited for may be a refusal
		out = string(b)
		if re.MatchString(out) != neg && (err == nil || !neg) {
			return
		}
		time.Sleep(pause)
	}
	ts.Fatalf("%s never became %q; last output:\n%s", strings.Join(args[1:], " "), args[0], out)
}

func lookPath(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if path := filepath.Join(dir, name); isExecutable(path) {
			return path
		}
	}
	ts.Fatalf("no %s in PATH", name)
	return ""
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
