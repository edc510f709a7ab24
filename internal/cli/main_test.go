package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/controller"
	"mizzen.dev/mizzen/internal/labtest"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/worker"
	"mizzen.dev/mizzen/internal/report"
	traffic "mizzen.dev/mizzen/internal/traffic/worker"
)

// TestMain lets the test binary be its own workers, as mizzen is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == render.WorkerCommand {
		os.Exit(worker.Main(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == traffic.Command {
		os.Exit(traffic.Main(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// said is what a command answered.
type said struct {
	code     int
	out, err string
}

// runIn runs the command line in this process.
func runIn(ctx context.Context, s Streams, args ...string) said {
	var out, errs bytes.Buffer
	s.Out, s.Err = &out, &errs
	if s.In == nil {
		s.In = strings.NewReader("")
	}
	a := &app{Streams: s, clock: clock.RealClock{}}
	code := a.run(ctx, args)
	return said{code, out.String(), errs.String()}
}

func run(t *testing.T, args ...string) said {
	t.Helper()
	return runIn(t.Context(), Streams{}, args...)
}

// stage is a lab with a controller, a Repository and some Applications.
type stage struct {
	lab    *labtest.Lab
	repo   *labtest.Repo
	ns     string
	client client.WithWatch
}

var files = map[string]string{
	"good/cm.yaml":   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\ndata: {v: \"1\"}\n",
	"drift/cm.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: drift}\n",
	"bad/cm.yaml":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad\ndata: {}\n",
	"manual/cm.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: manual}\n",
	"wrong/cm.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: wrong}\ndatta: {v: \"1\"}\n",
	"shop/mesh.yaml": shop,
}

// applicationSpecs are the Applications of a stage: good is synced, bad cannot
// be rendered, manual waits, and drift is left alone when it drifts.
var applicationSpecs = map[string]v1alpha1.ApplicationSpec{
	"good":   {Source: v1alpha1.ApplicationSource{Path: "good"}},
	"bad":    {Source: v1alpha1.ApplicationSource{Path: "bad"}},
	"manual": {Source: v1alpha1.ApplicationSource{Path: "manual"}, Sync: v1alpha1.SyncPolicy{Mode: v1alpha1.SyncManual}},
	"drift":  {Source: v1alpha1.ApplicationSource{Path: "drift"}, Sync: v1alpha1.SyncPolicy{SelfHeal: new(bool)}},
}

// newStage starts a lab of its own, since it installs Mizzen, and waits until
// the Applications are as they are going to be.
func newStage(t *testing.T) *stage {
	t.Helper()
	lab := labtest.Private(t, labtest.ControlPlane|labtest.Git)
	t.Setenv("KUBECONFIG", lab.Kubeconfig)
	t.Setenv("MIZZEN_NAMESPACE", mizzen.SystemNamespace)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	s := &stage{lab: lab, repo: lab.Repo(t, files), ns: mizzen.SystemNamespace}
	s.control(t)
	var flags kubeFlags
	var err error
	if s.client, _, err = flags.client(); err != nil {
		t.Fatal(err)
	}
	// Discovery learns of the CRDs one after the other, a little later.
	labtest.Eventually(t, "the CRDs are served", func(ctx context.Context) bool {
		return s.client.List(ctx, &v1alpha1.ApplicationList{}) == nil && s.client.List(ctx, &v1alpha1.RepositoryList{}) == nil
	})
	repo := &v1alpha1.Repository{Spec: v1alpha1.RepositorySpec{URL: s.repo.URL}}
	repo.Namespace, repo.Name = s.ns, "demo"
	s.insist(t, repo)
	for name, spec := range applicationSpecs {
		s.create(t, name, spec)
	}
	for name, state := range map[string]report.State{"good": report.Ready, "bad": report.Stalled, "manual": report.OutOfSync, "drift": report.Ready} {
		s.await(t, name, state)
	}
	return s
}

// control runs a controller until the test ends.
func (s *stage) control(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- controller.Run(ctx, controller.Options{
			Config: s.lab.Config, Installation: mizzen.DefaultInstallation, StateDir: t.TempDir(), Listen: "127.0.0.1:0",
			Install: true, AllowUnsandboxedRender: true, Traffic: &traffic.Planner{Client: &traffic.Client{AllowUnsandboxed: true}}, Log: slog.New(slog.DiscardHandler),
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the controller: %v", err)
		}
	})
}

func (s *stage) create(t *testing.T, name string, spec v1alpha1.ApplicationSpec) {
	t.Helper()
	app := &v1alpha1.Application{Spec: spec}
	app.Namespace, app.Name = s.ns, name
	app.Spec.Source.Repository, app.Spec.Privileged = "demo", true
	app.Spec.Destination.Namespace = s.lab.Namespace
	s.insist(t, app)
}

// insist creates an object, once the API server is ready to take it.
func (s *stage) insist(t *testing.T, o client.Object) {
	t.Helper()
	var err error
	labtest.Eventually(t, "create "+o.GetName(), func(ctx context.Context) bool {
		err = s.client.Create(ctx, o)
		return err == nil || apierrors.IsInvalid(err)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *stage) get(t *testing.T, name string) *v1alpha1.Application {
	t.Helper()
	var app v1alpha1.Application
	if err := s.client.Get(t.Context(), client.ObjectKey{Namespace: s.ns, Name: name}, &app); err != nil {
		t.Fatal(err)
	}
	return &app
}

func (s *stage) await(t *testing.T, name string, state report.State) {
	t.Helper()
	labtest.Eventually(t, fmt.Sprintf("%s is %s", name, state), func(context.Context) bool {
		return report.ApplicationResource(s.get(t, name)).State == state
	})
}

// dead is a kubeconfig of a cluster that does not run.
func dead(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	err := os.WriteFile(file, []byte(`
apiVersion: v1
kind: Config
current-context: dead
clusters: [{name: dead, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: dead, context: {cluster: dead, user: nobody}}]
users: [{name: nobody, user: {token: x}}]
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return file
}
