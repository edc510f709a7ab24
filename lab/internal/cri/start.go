package cri

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"mizzen.dev/mizzen/lab/internal/cri/crilog"
	"mizzen.dev/mizzen/lab/internal/cri/inside"
)

// drainTime bounds the wait for output after a container's process 1 has
// ended. All its processes are dead then, but one may have handed a pipe to
// another container.
const drainTime = 5 * time.Second

// StartContainer starts a container that was created. When its command does
// not start, the container has exited, and its status says why.
func (s *Server) StartContainer(_ context.Context, r *runtimeapi.StartContainerRequest) (*runtimeapi.StartContainerResponse, error) {
	c, err := s.container(r.ContainerId)
	if err != nil {
		return nil, err
	}
	c.sandbox.life.RLock()
	defer c.sandbox.life.RUnlock()
	c.starting.Lock()
	defer c.starting.Unlock()
	if c.sandbox.stopped {
		return nil, status.Errorf(codes.FailedPrecondition, "pod sandbox %s is stopped", c.sandbox.id)
	}
	if state := c.current(); state != runtimeapi.ContainerState_CONTAINER_CREATED {
		return nil, status.Errorf(codes.FailedPrecondition, "container %s is not new but %v", c.id, state)
	}
	if err := s.start(c); err != nil {
		c.fail(err)
		return nil, status.Error(codes.Unknown, err.Error())
	}
	return &runtimeapi.StartContainerResponse{}, nil
}

func (c *container) current() runtimeapi.ContainerState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state
}

// fail records that the container has ended before it began.
func (c *container) fail(err error) {
	failure := &inside.Failure{Reason: inside.ReasonStart, ExitCode: 128}
	_ = errors.As(err, &failure)
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now().UnixNano()
	c.state, c.started, c.finished = runtimeapi.ContainerState_CONTAINER_EXITED, now, now
	c.exitCode, c.reason, c.message = failure.ExitCode, failure.Reason, err.Error()
	close(c.done)
}

// start starts the container's process 1 and somebody who waits for its end.
func (s *Server) start(c *container) error {
	if err := createHostPaths(c.config.Mounts); err != nil {
		return err
	}
	out, err := openOutput(c.logPath)
	if err != nil {
		return err
	}
	cmd := &exec.Cmd{Stdout: out.writers[0], Stderr: out.writers[1], SysProcAttr: &unix.SysProcAttr{
		Setsid: true, Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS,
	}}
	spec := c.spec
	join := []*os.File{c.sandbox.namespaces.IPC}
	spec.Namespaces = []int{unix.CLONE_NEWIPC}
	if net := c.sandbox.namespaces.Net; net != nil {
		join, spec.Namespaces = append(join, net), append(spec.Namespaces, unix.CLONE_NEWNET)
	}
	err = spec.Start(cmd, join, s.spawner.Start)
	// Only the container may hold these, or the end of its output would not
	// be seen.
	out.release()
	if err != nil {
		out.close()
		return err
	}
	c.mu.Lock()
	c.state, c.started = runtimeapi.ContainerState_CONTAINER_RUNNING, time.Now().UnixNano()
	c.process, c.log = cmd.Process, out.log
	c.mu.Unlock()
	go c.wait(cmd, out)
	return nil
}

// createHostPaths makes the directories of volumes that the kubelet did not:
// those of a hostPath without a type.
func createHostPaths(mounts []*runtimeapi.Mount) error {
	for _, m := range mounts {
		if _, err := os.Stat(m.HostPath); !errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := os.MkdirAll(m.HostPath, 0o755); err != nil {
			return fmt.Errorf("volume at %s: the node's files cannot be written; use an emptyDir: %w", m.ContainerPath, err)
		}
	}
	return nil
}

// wait records the container's end. Its processes are all dead then: the
// kernel kills those of a pid namespace with its process 1.
func (c *container) wait(cmd *exec.Cmd, out *output) {
	copied := out.copy()
	_ = cmd.Wait() // the state says what there is to know
	c.mu.Lock()
	c.process = nil
	c.mu.Unlock()
	out.drain(copied)
	code, reason := exitCode(cmd.ProcessState), "Completed"
	if code != 0 {
		reason = "Error"
	}
	c.mu.Lock()
	if c.overLimit != "" && code == killed {
		reason, c.message = reasonMemory, c.overLimit
	}
	c.state, c.finished, c.exitCode, c.reason = runtimeapi.ContainerState_CONTAINER_EXITED, time.Now().UnixNano(), code, reason
	c.log = nil
	c.mu.Unlock()
	// A follower of the log looks again, and sees that there is no more.
	if out.log != nil {
		out.log.Touch()
	}
	out.close()
	close(c.done)
}

// killed is the exit code of a process that SIGKILL has ended.
const killed = 128 + int32(unix.SIGKILL)

// exitCode returns what a shell would: 128 and the number of a signal.
func exitCode(p *os.ProcessState) int32 {
	if ws, ok := p.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int32(ws.Signal())
	}
	return int32(p.ExitCode())
}

// StopContainer asks a container to end, and kills it after the timeout. It
// may be called again, also with a shorter timeout.
func (s *Server) StopContainer(_ context.Context, r *runtimeapi.StopContainerRequest) (*runtimeapi.StopContainerResponse, error) {
	if c, err := s.container(r.ContainerId); err == nil {
		c.stop(time.Duration(r.Timeout) * time.Second)
	}
	return &runtimeapi.StopContainerResponse{}, nil
}

// stop returns when the container has ended.
func (c *container) stop(timeout time.Duration) {
	c.starting.Lock() // one that is being started is to be stopped as well
	c.mu.Lock()
	running := c.state == runtimeapi.ContainerState_CONTAINER_RUNNING
	c.mu.Unlock()
	c.starting.Unlock()
	if !running {
		return
	}
	if timeout > 0 {
		c.signal(c.stopSignal)
		timer := time.NewTimer(timeout)
		defer timer.Stop()
		select {
		case <-c.done:
			return
		case <-timer.C:
		}
	}
	c.signal(unix.SIGKILL)
	<-c.done
}

func (c *container) signal(s unix.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process != nil {
		_ = c.process.Signal(s) // it may have ended, which is what is wanted
	}
}

// output is where a container's standard output and error go.
type output struct {
	log     *crilog.Log // nil if the container has none
	readers [2]*os.File
	writers [2]*os.File
}

func openOutput(path string) (*output, error) {
	o := &output{}
	var err error
	if path != "" {
		if o.log, err = crilog.Open(path); err != nil {
			return nil, err
		}
	}
	for i := range o.readers {
		if o.readers[i], o.writers[i], err = os.Pipe(); err != nil {
			o.release()
			o.close()
			return nil, fmt.Errorf("container's output: %w", err)
		}
	}
	return o, nil
}

// copy writes the log until the container's output ends.
func (o *output) copy() <-chan struct{} {
	var both sync.WaitGroup
	for i, stream := range []string{"stdout", "stderr"} {
		both.Go(func() {
			if o.log == nil {
				_, _ = io.Copy(io.Discard, o.readers[i])
				return
			}
			o.log.Copy(o.readers[i], stream)
		})
	}
	done := make(chan struct{})
	go func() { both.Wait(); close(done) }()
	return done
}

// drain waits until what was printed is in the log.
func (o *output) drain(copied <-chan struct{}) {
	if o.log != nil {
		o.log.End()
	}
	for _, r := range o.readers {
		_ = r.SetReadDeadline(time.Now().Add(drainTime))
	}
	<-copied
}

// release closes the container's ends.
func (o *output) release() {
	for _, w := range o.writers {
		if w != nil {
			_ = w.Close()
		}
	}
}

// close closes the server's ends.
func (o *output) close() {
	for _, r := range o.readers {
		if r != nil {
			_ = r.Close()
		}
	}
	if o.log != nil {
		_ = o.log.Close()
	}
}
