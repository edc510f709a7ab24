package e2e

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"mizzen.dev/mizzen/internal/labtest"
)

// process is one `mizzen up`, to be killed, ended and started again.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	logs  string
	ended chan struct{}
}

// launch starts bin/mizzen against the lab. Processes with the same state
// directory share it, one after the other or at a time. It does not wait.
func launch(t *testing.T, lab *labtest.Lab, state string, env ...string) *process {
	t.Helper()
	return launchAs(t, lab, state, "up", env...)
}

// launchAs starts bin/mizzen by another verb than up, such as controller, which
// installs nothing, or with flags, as in "up --default-gate Report".
func launchAs(t *testing.T, lab *labtest.Lab, state, verb string, env ...string) *process {
	t.Helper()
	p := &process{t: t, ended: make(chan struct{}), logs: filepath.Join(t.TempDir(), "mizzen.log")}
	logs, err := os.Create(p.logs)
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	p.cmd = exec.Command("../../bin/mizzen", append(strings.Fields(verb), "--kubeconfig", lab.Kubeconfig, "--state-dir", state,
		"--listen", anyPort, "--log-format", "text")...)
	p.cmd.Stdout, p.cmd.Stderr = logs, logs
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start bin/mizzen (built by 'make build'): %v", err)
	}
	go func() {
		_ = p.cmd.Wait() // the state says how it ended
		close(p.ended)
	}()
	t.Cleanup(func() {
		if t.Failed() {
			p.dump()
		}
		p.kill()
		if t.Failed() {
			t.Logf("mizzen %d:\n%s", p.cmd.Process.Pid, p.log())
		}
	})
	return p
}

// anyPort has a process listen wherever nobody else does; it says where.
const anyPort = "127.0.0.1:0"

// url is where the process listens, "" until it does.
func (p *process) url() string {
	_, rest, said := strings.Cut(p.log(), "msg=listening address=")
	address, _, whole := strings.Cut(rest, "\n")
	if !said || !whole {
		return ""
	}
	return "http://" + address
}

// kill ends the process without a chance to say anything.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// dump lets the process write what its goroutines wait for, and end.
func (p *process) dump() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT) // it may have ended
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
	}
}

// stop asks the process to end, and returns its exit code and how long it took.
func (p *process) stop() (code int, took time.Duration) {
	p.t.Helper()
	begin := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("end mizzen: %v", err)
	}
	select {
	case <-p.ended:
	case <-time.After(*patience):
		p.t.Fatal("mizzen does not end")
	}
	return p.cmd.ProcessState.ExitCode(), time.Since(begin)
}

// alive fails the test if the process ended.
func (p *process) alive() {
	p.t.Helper()
	select {
	case <-p.ended:
		p.t.Fatalf("mizzen ended: %s", p.cmd.ProcessState)
	default:
	}
}

// log is what the process said so far.
func (p *process) log() string {
	b, err := os.ReadFile(p.logs)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(b)
}

// lines counts the lines that it said at least at a level: INFO, WARN or ERROR.
func (p *process) lines(level string) int {
	n := 0
	for line := range strings.Lines(p.log()) {
		if strings.Contains(line, "level="+level) {
			n++
		}
	}
	return n
}

// get asks the process, and returns the status code, 0 if there is no answer.
func (p *process) get(ctx context.Context, path string) (code int, body string) {
	url := p.url()
	if url == "" {
		return 0, "it does not listen yet"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
	if err != nil {
		return 0, err.Error()
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(b)
}

// ready waits until the process leads, or stands by.
func (p *process) ready() *process {
	p.t.Helper()
	labtest.Eventually(p.t, "mizzen is ready", func(ctx context.Context) bool {
		p.alive()
		code, _ := p.get(ctx, "/readyz")
		return code == http.StatusOK
	})
	return p
}

// says waits until the log has a text.
func (p *process) says(text string) {
	p.t.Helper()
	labtest.Eventually(p.t, strconv.Quote(text)+" in the log", func(context.Context) bool {
		return strings.Contains(p.log(), text)
	})
}

// cpu is the processor time that the process has used, its children included.
func (p *process) cpu() time.Duration {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "stat"))
	if err != nil {
		p.t.Fatal(err)
	}
	// The name, in parentheses, may have spaces; utime is the 14th field.
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	ticks := 0
	for _, i := range []int{11, 12, 13, 14} {
		n, err := strconv.Atoi(string(fields[i]))
		if err != nil {
			p.t.Fatal(err)
		}
		ticks += n
	}
	const perSecond = 100 // USER_HZ, on every architecture that Go runs on
	return time.Duration(ticks) * time.Second / perSecond
}

// metric reads a metric by its name and labels as they are shown; 0 if there
// is none.
func (p *process) metric(series string) float64 {
	p.t.Helper()
	code, body := p.get(p.t.Context(), "/metrics")
	if code != http.StatusOK {
		p.t.Fatalf("/metrics: %d %s", code, body)
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// cli runs bin/mizzen and returns its exit code and what it wrote to standard
// error.
func cli(t *testing.T, kubeconfig string, args ...string) (code int, stderr string) {
	t.Helper()
	cmd := exec.Command("../../bin/mizzen", append(args, "--kubeconfig", kubeconfig)...)
	var b bytes.Buffer
	cmd.Stderr = &b
	var exit *exec.ExitError
	switch err := cmd.Run(); {
	case errors.As(err, &exit):
		return exit.ExitCode(), b.String()
	case err != nil:
		t.Fatal(err)
	}
	return 0, b.String()
}
