package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"mizzen.dev/mizzen/lab/internal/cluster"
	"mizzen.dev/mizzen/lab/internal/process"
	"mizzen.dev/mizzen/lab/internal/state"
)

// A cluster that ends by itself is started again after backoff, twice as long
// each time up to maxBackoff.
const (
	backoff    = 500 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// child is one cluster's process, or the lack of it. Its methods run on the
// supervisor's goroutine.
type child struct {
	s    *supervisor
	view state.Cluster
	// kill ends the process; nil if there is none.
	kill func() error
	// border is that of a live cluster; nil if there is none.
	border *border
	// port is what the kubeconfig says once it is written.
	port    int
	began   time.Time
	retryAt time.Time
}

func newChild(s *supervisor, name string) *child {
	return &child{s: s, view: s.view(name)}
}

// number is 1 for cluster-1, and so on.
func (c *child) number() int {
	return slices.Index(c.s.children, c) + 1
}

// due reports whether the child should be started now.
func (c *child) due() bool {
	return c.kill == nil && !time.Now().Before(c.retryAt)
}

func (c *child) start() {
	if err := c.launch(); err != nil {
		c.failed(err)
		return
	}
	c.view.State, c.view.Message = state.Starting, ""
	c.view.ServingSeconds, c.view.NodeSeconds, c.view.ReadySeconds = 0, 0, 0
}

func (c *child) launch() error {
	dir := c.s.dir.Cluster(c.view.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(c.view.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	reports, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirs.Close()
	// The file that runs, even if another has taken its name since.
	cmd := exec.Command("/proc/self/exe")
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = dir, log, log, []*os.File{theirs}
	c.began = time.Now()
	if c.s.spec.Live {
		err = c.launchLive(cmd)
	} else {
		err = c.launchFake(cmd)
	}
	if err != nil {
		reports.Close()
		return err
	}
	if c.view.Process, err = process.Of(cmd.Process.Pid); err != nil {
		c.s.log.Error("identify", "cluster", c.view.Name, "err", err)
	}
	c.s.log.Info("started", "cluster", c.view.Name, "pid", cmd.Process.Pid)
	c.kill = cmd.Process.Kill
	go c.follow(cmd, reports)
	return nil
}

// launchFake starts cmd as a cluster without a live node.
func (c *child) launchFake(cmd *exec.Cmd) error {
	preferred, required := c.preferred()
	cmd.Args = []string{
		"lab", cluster.Command, "--name", c.view.Name, "--nodes", strconv.Itoa(c.s.spec.Nodes),
		"--port", strconv.Itoa(preferred), "--require-port=" + strconv.FormatBool(required),
	}
	return c.s.spawner.Start(cmd)
}

// preferred is the port for the API, which must be it if clients know it.
func (c *child) preferred() (port int, required bool) {
	if c.port != 0 {
		return c.port, true
	}
	return c.s.ports[c.view.Name], false
}

// follow turns what the process reports, and its end, into events.
func (c *child) follow(cmd *exec.Cmd, reports io.ReadCloser) {
	defer reports.Close()
	var last error
	cluster.ReadReports(reports, func(r cluster.Report) {
		if r.Error != "" {
			last = errors.New(r.Error)
			return
		}
		at := time.Since(c.began)
		c.s.events <- func() { c.reported(r, at) }
	})
	_ = cmd.Wait() // its state says it
	if last == nil {
		last = fmt.Errorf("the process ended (%s); see %s", cmd.ProcessState, c.view.Log)
	}
	c.s.events <- func() { c.ended(last) }
}

func (c *child) reported(r cluster.Report, after time.Duration) {
	if r.Port != 0 {
		c.port = r.Port
		c.s.remember(c.view.Name, r.Port)
		c.view.URLs["api"] = fmt.Sprintf("https://127.0.0.1:%d", r.Port)
	}
	switch r.Phase {
	case cluster.Serving:
		c.view.ServingSeconds = after.Seconds()
	case cluster.NodeReady:
		c.view.NodeSeconds = after.Seconds()
	case cluster.Ready:
		c.view.ReadySeconds = after.Seconds()
		c.view.State = state.Ready
		c.view.Failures = 0
		c.s.log.Info("ready", "cluster", c.view.Name, "seconds", after.Seconds())
	}
}

func (c *child) ended(err error) {
	c.kill = nil
	c.view.Process = process.ID{}
	c.border.close()
	c.border = nil
	if !c.s.spec.Wants(c.view.Name) {
		c.view.State = state.Stopped
		c.s.log.Info("stopped", "cluster", c.view.Name)
		return
	}
	c.failed(err)
}

func (c *child) failed(err error) {
	wait := min(backoff<<min(c.view.Failures, 10), maxBackoff)
	c.view.Failures++
	c.view.Restarts++
	c.view.State, c.view.Message = state.Failed, err.Error()
	c.retryAt = time.Now().Add(wait)
	c.s.log.Error("failed", "cluster", c.view.Name, "err", err, "again", wait)
	time.AfterFunc(wait, func() { c.s.events <- func() {} })
}

// stop kills the process; its end arrives as an event.
func (c *child) stop() {
	if c.kill == nil {
		c.view.State = state.Stopped
		return
	}
	if err := c.kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.s.log.Error("kill", "cluster", c.view.Name, "err", err)
	}
}
