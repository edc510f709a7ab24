package cri

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"mizzen.dev/mizzen/lab/internal/cri/inside"
	"mizzen.dev/mizzen/lab/internal/cri/network"
)

const (
	// maxExecOutput is what ExecSync returns of each stream: a message of both
	// has to be below the 16 MiB that the kubelet accepts.
	maxExecOutput = maxMessage/2 - 1024
	// lateOutput is how long output is awaited after a command has ended, which
	// may have left a child behind.
	lateOutput = time.Second
)

// running returns the process 1 of a container that runs.
func (s *Server) running(id string) (*container, *os.Process, error) {
	c, err := s.container(id)
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return nil, nil, status.Errorf(codes.FailedPrecondition, "container %s is not running", id)
	}
	return c, c.process, nil
}

// streams are those of a command; each may be nil.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// exec runs a command in a running container and returns its exit code, that
// of a shell if it cannot be run. When ctx ends, the command is killed.
func (s *Server) exec(ctx context.Context, id string, command []string, st streams) (int32, error) {
	c, init, err := s.running(id)
	if err != nil {
		return 0, err
	}
	cmd := &exec.Cmd{Stdout: st.out, Stderr: st.err, WaitDelay: lateOutput, SysProcAttr: &unix.SysProcAttr{Setsid: true}}
	if err := feed(cmd, st.in); err != nil {
		return 0, err
	}
	spec := inside.Spec{Args: command, Env: c.spec.Env, Dir: c.spec.Dir, Identity: c.spec.Identity}
	err = network.OnThread(func() error {
		if err := join(init.Pid); err != nil {
			return err
		}
		return spec.Start(cmd, nil, (*exec.Cmd).Start)
	})
	var failure *inside.Failure
	if errors.As(err, &failure) {
		if st.err != nil {
			fmt.Fprintln(st.err, failure.Message)
		}
		return failure.ExitCode, nil
	}
	if err != nil {
		return 0, err
	}
	return await(ctx, cmd)
}

// feed gives a command its input. Wait does not wait for the input's end.
func feed(cmd *exec.Cmd, in io.Reader) error {
	if in == nil {
		return nil
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	go func() { _, _ = io.Copy(stdin, in); _ = stdin.Close() }()
	return nil
}

// await returns a command's exit code, or kills it when ctx ends.
func await(ctx context.Context, cmd *exec.Cmd) (int32, error) {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { killGroup(cmd.Process.Pid, ended) })
	err := cmd.Wait()
	close(ended)
	stop()
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return 0, fmt.Errorf("exec: %w", err)
	}
	return exitCode(cmd.ProcessState), nil
}

// killGroup kills a command with its children, unless it has ended.
func killGroup(pid int, ended <-chan struct{}) {
	select {
	case <-ended:
	default:
		_ = unix.Kill(-pid, unix.SIGKILL)
	}
}

// join makes the calling thread, and what it forks, part of a container.
func join(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("exec: the container has ended: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	// A thread may change its mount namespace only if it shares its working
	// directory with no other.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("exec: %w", err)
	}
	const all = unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC
	if err := unix.Setns(fd, all); err != nil {
		return fmt.Errorf("exec: join the container: %w", err)
	}
	return nil
}

// limited keeps the beginning of what is written to it.
type limited struct{ kept bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	l.kept.Write(p[:min(len(p), maxExecOutput-l.kept.Len())])
	return len(p), nil
}

// ExecSync runs a command in a container, with a timeout; probes come here.
func (s *Server) ExecSync(ctx context.Context, r *runtimeapi.ExecSyncRequest) (*runtimeapi.ExecSyncResponse, error) {
	if r.Timeout > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.Timeout)*time.Second)
		defer cancel()
	}
	var out, errs limited
	code, err := s.exec(ctx, r.ContainerId, r.Cmd, streams{out: &out, err: &errs})
	if errors.Is(err, context.DeadlineExceeded) {
		// The kubelet takes this code for a probe's timeout.
		return nil, status.Errorf(codes.DeadlineExceeded, "command %q has not ended after %d s and was killed", r.Cmd, r.Timeout)
	}
	if err != nil {
		return nil, err
	}
	return &runtimeapi.ExecSyncResponse{Stdout: out.kept.Bytes(), Stderr: errs.kept.Bytes(), ExitCode: code}, nil
}

// Exec returns the URL at which a command's streams are to be had.
func (s *Server) Exec(_ context.Context, r *runtimeapi.ExecRequest) (*runtimeapi.ExecResponse, error) {
	if err := refuse([]rule{{r.Tty, "exec: tty", noTerminals}}); err != nil {
		return nil, err
	}
	if _, _, err := s.running(r.ContainerId); err != nil {
		return nil, err
	}
	return s.streams.GetExec(r)
}

// Attach is refused.
func (s *Server) Attach(_ context.Context, r *runtimeapi.AttachRequest) (*runtimeapi.AttachResponse, error) {
	if _, _, err := s.running(r.ContainerId); err != nil {
		return nil, err
	}
	return nil, status.Error(codes.Unimplemented, noAttach)
}

const noAttach = "attach: not supported by the lab's container runtime: a container's output goes to its log only; use `kubectl logs -f`"
