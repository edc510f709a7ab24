package render_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/memtree"
	"mizzen.dev/mizzen/internal/render/worker"
)

// The renderers of this test's workers, beside the real ones.
const (
	// files makes a ConfigMap of what it sees in a directory and below.
	files render.Renderer = "Files"
	// touchy fails in the way that o.ReleaseName says.
	touchy render.Renderer = "Touchy"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == render.WorkerCommand {
		table := worker.Renderers()
		table[files], table[touchy] = renderFiles, renderTouchy
		os.Exit(worker.Serve(os.Args[2:], table, func() {}))
	}
	os.Exit(m.Run())
}

func newPool(t testing.TB, config render.PoolConfig) *render.Pool {
	t.Helper()
	config.DataBytes = -1 // also for the race detector; bounds are tested beside the worker
	p, err := render.NewPool(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// renderFiles lists a directory recursively, follows links to files, and
// follows "see: PATH" lines, as a kustomization does.
func renderFiles(_ context.Context, fsys fs.FS, o render.Options) (*render.Output, error) {
	data := map[string]any{}
	if err := collect(fsys, o.Path, data, 0); err != nil {
		return nil, err
	}
	data["pid"] = strconv.Itoa(os.Getpid())
	if o.ReleaseName == "no pid" {
		delete(data, "pid")
	}
	if o.ReleaseName == "random" {
		data["random"] = strconv.FormatInt(time.Now().UnixNano(), 36)
	}
	out := &render.Output{Renderer: files, Objects: []mizzen.Object{configMap(data)}, Nondeterministic: o.ReleaseName == "random"}
	if o.SkipCRDs {
		data["kube"], out.Consulted.Capabilities = o.Capabilities.KubeVersion, true
	}
	return out, nil
}

func collect(fsys fs.FS, dir string, data map[string]any, depth int) error {
	if depth > 8 {
		return errors.New("too deep")
	}
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		info, err := fs.Stat(fsys, name)
		switch {
		case err != nil:
			data[name] = "broken link"
		case info.IsDir():
			if err := collect(fsys, name, data, depth+1); err != nil {
				return err
			}
		case e.Name() == "README.md": // what is not read does not matter
		default:
			if err := read(fsys, name, data, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func read(fsys fs.FS, name string, data map[string]any, depth int) error {
	b, err := fs.ReadFile(fsys, name)
	if err != nil {
		data[name] = "absent"
		return nil
	}
	data[name] = string(b)
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "fail") {
			return fmt.Errorf("%s says so", name)
		}
		if other, ok := strings.CutPrefix(strings.TrimSpace(line), "see: "); ok && depth < 8 {
			if err := read(fsys, other, data, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func configMap(data map[string]any) mizzen.Object {
	return mizzen.Object{
		Unstructured: &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "files"}, "data": data,
		}},
		Origins: mizzen.Origins{Object: mizzen.Origin{File: "a/b", Line: 3}, Fields: map[mizzen.Path]mizzen.Origin{"data": {File: "a/b", Line: 4}}},
	}
}

func renderTouchy(ctx context.Context, fsys fs.FS, o render.Options) (*render.Output, error) {
	switch o.ReleaseName {
	case "invalid":
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: "a/b", Origin: mizzen.Origin{File: "a/b", Line: 7},
			Err: fmt.Errorf("a cause: %w", fs.ErrNotExist), Remedy: "mend it",
		}
	case "plain":
		_, err := fs.ReadFile(fsys, "a/missing")
		return nil, err
	case "taint":
		out, err := renderFiles(ctx, fsys, render.Options{Path: o.Path})
		out.Tainted = true
		return out, err
	case "test the file system":
		return &render.Output{Renderer: touchy}, fstest.TestFS(fsys, "a/b", "c/d/e")
	case "exit":
		os.Exit(3)
	case "wait":
		select {}
	case "loop", "be late":
		if _, err := fs.ReadFile(fsys, "a/b"); err != nil || o.ReleaseName == "be late" {
			break
		}
		select {}
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func data(t testing.TB, r *render.Result, field string) string {
	t.Helper()
	if len(r.Output.Objects) != 1 {
		t.Fatalf("%d objects", len(r.Output.Objects))
	}
	s, _, err := unstructured.NestedString(r.Output.Objects[0].Object, "data", field)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPoolRenders(t *testing.T) {
	p := newPool(t, render.PoolConfig{})
	r, err := p.Render(t.Context(), memtree.Tree{"a/b": "hello", "c": "x"}, render.Options{Path: "a", Renderer: files})
	if err != nil {
		t.Fatal(err)
	}
	if got := data(t, r, "a/b"); got != "hello" {
		t.Errorf("content %q", got)
	}
	want := configMap(nil).Origins
	if d := cmp.Diff(want, r.Output.Objects[0].Origins); d != "" {
		t.Error(d)
	}
}

// TestFileSystem holds what a renderer is given against the rules of io/fs.
func TestFileSystem(t *testing.T) {
	p := newPool(t, render.PoolConfig{})
	tree := memtree.Tree{"a/b": "hello", "a/empty": "", "c/d/e": "x"}
	if _, err := p.Render(t.Context(), tree, render.Options{Path: "a", Renderer: touchy, ReleaseName: "test the file system"}); err != nil {
		t.Error(err)
	}
}

func TestPoolReusesWorkers(t *testing.T) {
	p := newPool(t, render.PoolConfig{Workers: 1, Jobs: 3})
	tree := memtree.Tree{"a/b": "x"}
	var pids []string
	for range 7 {
		r, err := p.Render(t.Context(), tree, render.Options{Path: "a", Renderer: files})
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, data(t, r, "pid"))
	}
	if pids[0] != pids[2] || pids[2] == pids[3] || pids[3] != pids[5] || pids[5] == pids[6] {
		t.Errorf("a worker does 3 jobs: %v", pids)
	}
	r, err := p.Render(t.Context(), tree, render.Options{Path: "a", Renderer: touchy, ReleaseName: "taint"})
	if err != nil || data(t, r, "pid") != pids[6] {
		t.Fatalf("%v", err)
	}
	r, err = p.Render(t.Context(), tree, render.Options{Path: "a", Renderer: files})
	if err != nil || data(t, r, "pid") == pids[6] {
		t.Errorf("a tainted worker is used again: %v", err)
	}
}

func TestPoolErrors(t *testing.T) {
	p := newPool(t, render.PoolConfig{Workers: 1, Timeout: 500 * time.Millisecond})
	tree := memtree.Tree{"a/b": "x"}
	cases := []struct {
		o    render.Options
		kind mizzen.Kind
		want string
	}{
		{render.Options{Path: "a", Renderer: touchy, ReleaseName: "invalid"}, mizzen.Invalid, "a/b (a/b:7): a cause: file does not exist; mend it"},
		{render.Options{Path: "a", Renderer: touchy, ReleaseName: "plain"}, mizzen.Invalid, "a: read a/missing: "},
		{render.Options{Path: "a", Renderer: touchy, ReleaseName: "exit"}, mizzen.Internal, "a: the render worker crashed (exit status 3)"},
		{render.Options{Path: "a", Renderer: touchy, ReleaseName: "wait"}, mizzen.Timeout, "a: the rendering takes longer than 500ms"},
		{render.Options{Path: "a", Renderer: touchy}, mizzen.Timeout, "a: the rendering takes longer than 500ms"},
		{render.Options{Path: "../a", Renderer: files}, mizzen.Invalid, "not a path within the repository"},
		{render.Options{Path: "a", Renderer: "Jsonnet"}, mizzen.Invalid, `there is no renderer "Jsonnet"`},
		{render.Options{Path: "nowhere"}, mizzen.NotFound, "nowhere: no such directory"},
	}
	for _, c := range cases {
		_, err := p.Render(t.Context(), tree, c.o)
		if mizzen.KindOf(err) != c.kind || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %s: %v; want %s: %s", c.o, mizzen.KindOf(err), err, c.kind, c.want)
		}
	}
	if _, err := p.Render(t.Context(), tree, render.Options{Path: "a", Renderer: files}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// brokenTree is a Snapshot whose store is gone.
type brokenTree struct{ memtree.Tree }

var errBroken = errors.New("the mirror is gone")

func (brokenTree) Stat(string) (fs.FileInfo, error) { return nil, errBroken }

func TestPoolBrokenSnapshot(t *testing.T) {
	p := newPool(t, render.PoolConfig{})
	_, err := p.Render(t.Context(), brokenTree{memtree.Tree{"a/b": "x"}}, render.Options{Path: "a", Renderer: files})
	if !errors.Is(err, errBroken) || mizzen.KindOf(err) != mizzen.Unreachable {
		t.Errorf("%s: %v", mizzen.KindOf(err), err)
	}
}

func TestPoolLargeFile(t *testing.T) {
	p := newPool(t, render.PoolConfig{})
	tree := memtree.Tree{"a/b": strings.Repeat("x", 33<<20)}
	_, err := p.Render(t.Context(), tree, render.Options{Path: "a", Renderer: files})
	if mizzen.KindOf(err) != mizzen.TooLarge || !strings.Contains(err.Error(), "a/b: the file has 33 MiB, 32 are allowed") {
		t.Errorf("%v", err)
	}
}

func TestPoolCancel(t *testing.T) {
	p := newPool(t, render.PoolConfig{Workers: 1})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("superseded")
	done := make(chan error)
	go func() {
		_, err := p.Render(ctx, memtree.Tree{"a/b": "x"}, render.Options{Path: "a", Renderer: touchy, ReleaseName: "wait"})
		done <- err
	}()
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
}

func TestPoolIdle(t *testing.T) {
	p := newPool(t, render.PoolConfig{IdleTimeout: time.Millisecond})
	if _, err := p.Render(t.Context(), memtree.Tree{"a/b": "x"}, render.Options{Path: "a", Renderer: files}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the idle worker to end", func() bool { return len(children(t)) == 0 })
}

// TestPoolStale kills an idle worker behind the pool's back.
func TestPoolStale(t *testing.T) {
	p := newPool(t, render.PoolConfig{Workers: 1})
	o := render.Options{Path: "a", Renderer: files}
	r, err := p.Render(t.Context(), memtree.Tree{"a/b": "x"}, o)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(data(t, r, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	proc, err := os.FindProcess(pid)
	if err != nil || proc.Kill() != nil {
		t.Fatal(err)
	}
	waitFor(t, "the worker to die", func() bool { return len(children(t)) == 0 })
	if r, err := p.Render(t.Context(), memtree.Tree{"a/b": "x"}, o); err != nil || data(t, r, "pid") == strconv.Itoa(pid) {
		t.Errorf("got %v", err)
	}
}

// TestPoolClose checks that nothing is left, whatever the workers were doing.
func TestPoolClose(t *testing.T) {
	goroutines := runtime.NumGoroutine()
	p := newPool(t, render.PoolConfig{Workers: 4})
	var all sync.WaitGroup
	for i := range 8 {
		name := []string{"wait", "exit", "taint", "invalid"}[i%4]
		all.Go(func() {
			_, err := p.Render(context.Background(), memtree.Tree{"a/b": "x"}, render.Options{Path: "a", Renderer: touchy, ReleaseName: name})
			if name == "wait" && !errors.Is(err, render.ErrClosed) {
				t.Errorf("got %v", err)
			}
		})
	}
	waitFor(t, "workers to start", func() bool { return len(children(t)) >= 2 })
	p.Close()
	all.Wait()
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	waitFor(t, "goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
	if _, err := p.Render(t.Context(), memtree.Tree{}, render.Options{Path: "."}); !errors.Is(err, render.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestPoolRefusesWithoutSandbox(t *testing.T) {
	script := filepath.Join(t.TempDir(), "worker")
	greeting := `{"version":1,"sandbox":{"missing":[{"protection":"seccomp","reason":"too old"}]}}`
	text := fmt.Sprintf("#!/bin/sh\nprintf 'H\\000\\000\\000\\%03o%%s' '%s'\nexec cat >/dev/null\n", len(greeting), greeting)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	p := newPool(t, render.PoolConfig{Command: []string{script}})
	_, err := p.Render(t.Context(), memtree.Tree{"a/b": "x"}, render.Options{Path: "a", Renderer: files})
	if mizzen.KindOf(err) != mizzen.Refused || !strings.Contains(err.Error(), "missing seccomp (too old)") || !strings.Contains(err.Error(), "--allow-unsandboxed-render") {
		t.Errorf("%v", err)
	}
	if p.Sandbox().Confined() {
		t.Error("the pool says that it is confined")
	}
	p = newPool(t, render.PoolConfig{Command: []string{script}, AllowUnsandboxed: true})
	_, err = p.Render(t.Context(), memtree.Tree{"a/b": "x"}, render.Options{Path: "a", Renderer: files})
	if mizzen.KindOf(err) != mizzen.TooLarge {
		t.Errorf("the job does not reach the worker that was allowed: %v", err)
	}
}

func TestPoolCannotStart(t *testing.T) {
	for _, command := range [][]string{{"/nonexistent"}, {"/bin/true"}, {"/bin/echo", "hello, this is no worker"}} {
		p := newPool(t, render.PoolConfig{Command: command})
		_, err := p.Render(t.Context(), memtree.Tree{"a/b": "x"}, render.Options{Path: "a", Renderer: files})
		if mizzen.KindOf(err) != mizzen.Internal || !strings.Contains(err.Error(), "start a render worker") {
			t.Errorf("%v: %v", command, err)
		}
	}
}

// TestPoolParallel is for the race detector.
func TestPoolParallel(t *testing.T) {
	p := newPool(t, render.PoolConfig{Workers: 3, Jobs: 5})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 10 {
				want := strconv.Itoa(i)
				r, err := p.Render(t.Context(), memtree.Tree{"a/b": want}, render.Options{Path: "a", Renderer: files})
				if err != nil {
					t.Error(err)
				} else if got := data(t, r, "a/b"); got != want {
					t.Errorf("got the files of another rendering: %q", got)
				}
			}
		})
	}
	all.Wait()
}

// children returns the ids of the processes that this one started, zombies
// included.
func children(t *testing.T) []string {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	var pids []string
	for _, list := range lists {
		b, _ := os.ReadFile(list) // a thread may have ended
		pids = append(pids, strings.Fields(string(b))...)
	}
	return pids
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}
