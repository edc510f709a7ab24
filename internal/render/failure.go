package render

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render/wire"
	"mizzen.dev/mizzen/internal/sandbox"
)

// ExitCPU is the exit code of a worker whose processor time ran out.
const ExitCPU = 120

// named makes sure that the error is a *mizzen.Error that says which path
// could not be rendered.
func named(err error, path string) error {
	var e *mizzen.Error
	if !errors.As(err, &e) {
		return &mizzen.Error{Kind: mizzen.Invalid, Object: path, Err: err}
	}
	if e.Object != "" {
		return err
	}
	with := *e
	with.Object = path
	return &with
}

func invalidOptions(err error) error {
	return &mizzen.Error{Kind: mizzen.Invalid, Err: fmt.Errorf("the render options: %w", err), Remedy: "correct spec.source"}
}

// TooLate is the error of a rendering whose time is over, with where it was if
// that is known.
func TooLate(limit time.Duration, where error) error {
	err := fmt.Errorf("the rendering takes longer than %s", limit.Round(time.Millisecond))
	if where != nil {
		err = fmt.Errorf("%w (%w)", err, where)
	}
	return &mizzen.Error{Kind: mizzen.Timeout, Err: err, Remedy: "look for a loop in the templates, or split the application; `mizzen up` and `mizzen controller` give more time with --render-timeout"}
}

func cannotStart(err error, stderr string) error {
	if stderr != "" {
		err = fmt.Errorf("%w; it said: %s", err, firstLine(stderr))
	}
	return &mizzen.Error{
		Kind: mizzen.Internal, Err: fmt.Errorf("start a render worker: %w", err),
		Remedy: "check that the machine has memory and processes to spare, and that the mizzen binary was not replaced",
	}
}

func unconfined(r sandbox.Report) error {
	return &mizzen.Error{
		Kind: mizzen.Refused, Err: fmt.Errorf("charts and kustomizations cannot be confined here: %w", r.Err()),
		Remedy: "run on Linux 4.14 or later with seccomp, or accept the risk with --allow-unsandboxed-render",
	}
}

// explain says why a worker ended in the middle of a job. late is whether the
// parent's deadline was over.
func (c PoolConfig) explain(w *process, err error, late bool) error {
	var broken *brokenSnapshot
	var bound *mizzen.Error
	switch {
	case errors.As(err, &broken):
		return &mizzen.Error{Kind: mizzen.Unreachable, Err: broken.err, Remedy: "check the Repository; the rendering is tried again"}
	case errors.As(err, &bound):
		return err
	case late:
		return TooLate(c.Timeout, nil)
	case errors.Is(err, wire.ErrProtocol):
		return &mizzen.Error{
			Kind: mizzen.Refused, Err: fmt.Errorf("the render worker was stopped: %w", err),
			Remedy: "report it: a chart must not be able to do this",
		}
	}
	return c.crashed(w)
}

// crashed reads the exit status and the last words of a worker.
func (c PoolConfig) crashed(w *process) error {
	said := w.stderr.String()
	status, _ := w.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.ExitStatus() == ExitCPU:
		return &mizzen.Error{
			Kind: mizzen.Timeout, Err: errors.New("the rendering used up its processor time"),
			Remedy: "look for a loop in the templates, or split the application",
		}
	case contains(said, "out of memory", "cannot allocate memory", "pthread_create failed"):
		return tooMuch(fmt.Sprintf("the rendering needs more memory than %d MiB", c.DataBytes>>20),
			"look for a template or document that expands without end, or split the application")
	case contains(said, "stack exceeds", "stack overflow"):
		return tooMuch("the rendering recurses without end", "look for a template that includes itself")
	case status.Signaled() && status.Signal() == syscall.SIGSYS:
		return &mizzen.Error{
			Kind: mizzen.Refused, Err: errors.New("the rendering tried a system call that no rendering needs, and was killed"),
			Remedy: "look at what the chart or kustomization runs; report it if it is a usual one",
		}
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		return tooMuch("the render worker was killed by the system, most likely for want of memory or processor time",
			"give the machine or container more memory, or split the application")
	}
	return &mizzen.Error{
		Kind: mizzen.Internal, Err: fmt.Errorf("the render worker crashed (%s): %s", w.cmd.ProcessState, said),
		Remedy: "report it with the chart or kustomization that causes it",
	}
}

func contains(s string, any ...string) bool {
	for _, a := range any {
		if strings.Contains(s, a) {
			return true
		}
	}
	return false
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
