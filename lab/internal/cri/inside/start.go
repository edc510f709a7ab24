package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// Start starts cmd by start, as a process that becomes s. It returns when the
// command runs, or with a *Failure; Path, Args, Env and ExtraFiles of cmd are
// set here. namespaces are those named by s.Namespaces, in their order.
func (s *Spec) Start(cmd *exec.Cmd, namespaces []*os.File, start func(*exec.Cmd) error) error {
	specR, specW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start process: %w", err)
	}
	defer specW.Close()
	defer specR.Close()
	failureR, failureW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start process: %w", err)
	}
	defer failureR.Close()
	defer failureW.Close()
	cmd.Path, cmd.Args = "/proc/self/exe", []string{"lab-cri", argument}
	// It lives for some milliseconds: no threads, no collections.
	cmd.Env = []string{"GOMAXPROCS=1", "GOGC=off"}
	cmd.ExtraFiles = append([]*os.File{specR, failureW}, namespaces...)
	if err := start(cmd); err != nil {
		return fmt.Errorf("start process: %w", err)
	}
	// Only the child may hold these, or its end would not be seen.
	_ = specR.Close()
	_ = failureW.Close()
	if err := s.follow(specW, failureR); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return err
	}
	return nil
}

// follow hands the Spec over and waits until the pipe of failures is closed,
// which a successful exec does.
func (s *Spec) follow(spec io.WriteCloser, failure io.Reader) error {
	sent := make(chan error, 1)
	go func() { sent <- errors.Join(json.NewEncoder(spec).Encode(s), spec.Close()) }()
	said, err := io.ReadAll(failure)
	if err := <-sent; err != nil && len(said) == 0 {
		return fmt.Errorf("hand over to the container's process: %w", err)
	}
	if err != nil {
		return fmt.Errorf("hear from the container's process: %w", err)
	}
	if len(said) == 0 {
		return nil
	}
	f := &Failure{}
	if err := json.Unmarshal(said, f); err != nil {
		return fmt.Errorf("hear from the container's process: %w", err)
	}
	return f
}
