package cri_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"mizzen.dev/mizzen/lab/internal/cri"
)

// patience is how long a test waits for what must come.
const patience = 5 * time.Minute

// runtimeUnderTest is a lab-cri that runs.
type runtimeUnderTest struct {
	runtimeapi.RuntimeServiceClient
	images runtimeapi.ImageServiceClient
	dir    string
	cmd    *exec.Cmd
}

// shared is the one of all tests that do not kill theirs.
var shared *runtimeUnderTest

func tests(m *testing.M) int {
	err := errors.Join(os.WriteFile("/tmp/images.yaml", []byte(images), 0o644), os.WriteFile("/tmp/tool.json", []byte("{}"), 0o644))
	if err == nil {
		shared, err = start(config("/tmp/cri", "lab0", "10.244"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("---", os.Getenv(mode))
	return m.Run()
}

func start(c cri.Config) (*runtimeUnderTest, error) {
	told, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	r := &runtimeUnderTest{dir: c.Dir, cmd: exec.Command("/proc/self/exe")}
	r.cmd.Env = append(os.Environ(), role+"=cri", configRole+"="+string(told))
	r.cmd.Stdout, r.cmd.Stderr = os.Stdout, os.Stderr
	// Not Pdeathsig, which follows a thread: the tests are in a namespace that
	// ends with them.
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("unix:"+c.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		return nil, err
	}
	r.RuntimeServiceClient, r.images = runtimeapi.NewRuntimeServiceClient(conn), runtimeapi.NewImageServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = r.Version(ctx, &runtimeapi.VersionRequest{}, grpc.WaitForReady(true))
	return r, err
}

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never came: %s", what)
		}
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// message is the text of a refusal.
func message(err error) string { return status.Convert(err).Message() }

type pod struct {
	t      *testing.T
	r      *runtimeUnderTest
	id     string
	config *runtimeapi.PodSandboxConfig
}

func podConfig(t *testing.T) *runtimeapi.PodSandboxConfig {
	return &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: "pod", Namespace: "default", Uid: t.Name()},
		Hostname: "pod", LogDirectory: filepath.Join(t.TempDir(), "logs"),
		DnsConfig: &runtimeapi.DNSConfig{Servers: []string{"10.0.0.10"}, Searches: []string{"svc.cluster.local"}, Options: []string{"ndots:5"}},
		Labels:    map[string]string{"app": t.Name()},
		Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER},
		}},
	}
}

// runPod runs a pod that is removed with the test.
func runPod(t *testing.T, r *runtimeUnderTest, change ...func(*runtimeapi.PodSandboxConfig)) *pod {
	t.Helper()
	c := podConfig(t)
	for _, f := range change {
		f(c)
	}
	p := &pod{t: t, r: r, config: c}
	p.id = must[*runtimeapi.RunPodSandboxResponse](t)(r.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: c})).PodSandboxId
	t.Cleanup(p.remove)
	return p
}

func (p *pod) remove() {
	if _, err := p.r.RemovePodSandbox(context.Background(), &runtimeapi.RemovePodSandboxRequest{PodSandboxId: p.id}); err != nil {
		p.t.Error(err)
	}
}

func (p *pod) address() string {
	p.t.Helper()
	return must[*runtimeapi.PodSandboxStatusResponse](p.t)(p.r.PodSandboxStatus(p.t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: p.id})).Status.Network.Ip
}

type ctr struct {
	*pod
	id  string
	log string
}

type change func(*runtimeapi.ContainerConfig)

func containerConfig(name string, args ...string) *runtimeapi.ContainerConfig {
	return &runtimeapi.ContainerConfig{
		Metadata: &runtimeapi.ContainerMetadata{Name: name}, Image: &runtimeapi.ImageSpec{Image: "lab/sh:v1"},
		Args: args, LogPath: name + "/0.log", Labels: map[string]string{"container": name},
		Linux: &runtimeapi.LinuxContainerConfig{SecurityContext: &runtimeapi.LinuxContainerSecurityContext{
			ReadonlyPaths: []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/none"}, MaskedPaths: []string{"/proc/kcore", "/proc/scsi", "/proc/none"},
		}},
	}
}

// create creates a container of a shell script.
func (p *pod) create(name, script string, changes ...change) *ctr {
	p.t.Helper()
	c := containerConfig(name, "-c", script)
	for _, f := range changes {
		f(c)
	}
	made := must[*runtimeapi.CreateContainerResponse](p.t)(p.r.CreateContainer(p.t.Context(),
		&runtimeapi.CreateContainerRequest{PodSandboxId: p.id, Config: c, SandboxConfig: p.config}))
	return &ctr{pod: p, id: made.ContainerId, log: filepath.Join(p.config.LogDirectory, c.LogPath)}
}

func (c *ctr) start() error {
	_, err := c.r.StartContainer(c.t.Context(), &runtimeapi.StartContainerRequest{ContainerId: c.id})
	return err
}

// run creates and starts one.
func (p *pod) run(name, script string, changes ...change) *ctr {
	p.t.Helper()
	c := p.create(name, script, changes...)
	if err := c.start(); err != nil {
		p.t.Fatal(err)
	}
	return c
}

func (c *ctr) status() *runtimeapi.ContainerStatus {
	c.t.Helper()
	return must[*runtimeapi.ContainerStatusResponse](c.t)(c.r.ContainerStatus(context.Background(), &runtimeapi.ContainerStatusRequest{ContainerId: c.id})).Status
}

// wait waits until the container has exited.
func (c *ctr) wait() *runtimeapi.ContainerStatus {
	c.t.Helper()
	eventually(c.t, "the container's end", func() bool { return c.status().State == runtimeapi.ContainerState_CONTAINER_EXITED })
	return c.status()
}

func (c *ctr) stop(seconds int64) {
	c.t.Helper()
	if _, err := c.r.StopContainer(c.t.Context(), &runtimeapi.StopContainerRequest{ContainerId: c.id, Timeout: seconds}); err != nil {
		c.t.Fatal(err)
	}
}

// text is what the log has of a stream.
func (c *ctr) text(stream string) string {
	c.t.Helper()
	var b strings.Builder
	for line := range strings.Lines(string(must[[]byte](c.t)(os.ReadFile(c.log)))) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
		if len(f) != 4 {
			c.t.Fatalf("%q is no line of a log", line)
		}
		if f[1] == stream {
			b.WriteString(f[3])
			if f[2] == "F" {
				b.WriteByte('\n')
			}
		}
	}
	return b.String()
}

// ready waits until the container has printed a line.
func (c *ctr) ready(line string) *ctr {
	c.t.Helper()
	eventually(c.t, line, func() bool { return strings.Contains(c.text("stdout"), line) })
	return c
}

// output runs a script to its successful end and returns what it printed.
func (p *pod) output(name, script string, changes ...change) string {
	p.t.Helper()
	c := p.run(name, script, changes...)
	if s := c.wait(); s.ExitCode != 0 {
		p.t.Fatalf("%s exited with %d: %s%s", name, s.ExitCode, c.text("stdout"), c.text("stderr"))
	}
	return c.text("stdout")
}

func (c *ctr) exec(seconds int64, args ...string) (*runtimeapi.ExecSyncResponse, error) {
	return c.r.ExecSync(c.t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: c.id, Cmd: args, Timeout: seconds})
}

// processes counts those of the node whose command line has a word.
func processes(word string) int {
	n := 0
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, _ := os.ReadFile(f)
		for _, arg := range strings.Split(string(line), "\x00") {
			if arg == word {
				n++
			}
		}
	}
	return n
}

func image(name string) change { return func(c *runtimeapi.ContainerConfig) { c.Image.Image = name } }

func security(f func(*runtimeapi.LinuxContainerSecurityContext)) change {
	return func(c *runtimeapi.ContainerConfig) { f(c.Linux.SecurityContext) }
}

func volume(source, target string, readOnly bool) change {
	return func(c *runtimeapi.ContainerConfig) {
		c.Mounts = append(c.Mounts, &runtimeapi.Mount{HostPath: source, ContainerPath: target, Readonly: readOnly})
	}
}
