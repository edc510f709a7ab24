// Package inside is what happens between the fork of a container's process and
// its command: this program executes itself with the new namespaces, builds
// the container's root, gives up the rights that the container is not to have,
// and becomes the command. In goes a Spec, through a pipe; out comes the
// command, or the reason why it did not start.
package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// argument makes this program the beginning of a container's process.
const argument = "container-process"

// The descriptors of such a process beyond its standard ones; the namespaces
// that it is to join follow.
const (
	specFD = 3 + iota
	failureFD
	namespaceFD
)

// Spec is what a process becomes.
type Spec struct {
	// Args is the command and its arguments, Env its whole environment, Dir its
	// working directory, which is created.
	Args []string
	Env  []string
	Dir  string
	// Namespaces are the types (CLONE_NEW…) of those to join.
	Namespaces []int
	// Hostname is set when it is not empty.
	Hostname string
	// Root is nil for a process that joins a running container.
	Root *Root
	// Identity is whom the process runs as.
	Identity Identity
}

// The reasons why a command did not start, as the kubelet's users know them.
const (
	// ReasonCannotRun is a command that is missing or may not be executed.
	ReasonCannotRun = "ContainerCannotRun"
	// ReasonStart is everything else.
	ReasonStart = "StartError"
)

// Failure says why a command did not start. It is an error.
type Failure struct {
	// Reason is one of the reasons above.
	Reason string
	// ExitCode is what a shell would return: 127 not found, 126 not
	// executable; 128 for everything else.
	ExitCode int32
	// Message is the cause.
	Message string
}

func (f *Failure) Error() string { return f.Message }

// Become never returns in a process that Start has started. A program calls it
// first of all.
func Become() {
	if len(os.Args) != 2 || os.Args[1] != argument {
		return
	}
	// What follows changes the attributes of a thread.
	runtime.LockOSThread()
	for fd := specFD; fd < namespaceFD; fd++ {
		unix.CloseOnExec(fd)
	}
	var s Spec
	err := json.NewDecoder(os.NewFile(specFD, "spec")).Decode(&s)
	if err == nil {
		err = s.become()
	}
	failure := &Failure{Reason: ReasonStart, ExitCode: 128, Message: err.Error()}
	_ = errors.As(err, &failure)
	_ = json.NewEncoder(os.NewFile(failureFD, "failure")).Encode(failure)
	os.Exit(int(failure.ExitCode))
}

// become returns only with an error.
func (s *Spec) become() error {
	if err := s.join(); err != nil {
		return err
	}
	unix.Umask(0o022)
	if s.Root != nil {
		if err := s.Root.build(); err != nil {
			return err
		}
	}
	if err := enter(s.Dir); err != nil {
		return err
	}
	path, err := s.look()
	if err != nil {
		return err
	}
	if err := s.restrict(); err != nil {
		return err
	}
	return cannotRun(s.Args[0], unix.Exec(path, s.Args, s.Env))
}

// join enters the namespaces that the process shares with others, and names
// its own.
func (s *Spec) join() error {
	for i, kind := range s.Namespaces {
		if err := unix.Setns(namespaceFD+i, kind); err != nil {
			return fmt.Errorf("join namespace: %w", err)
		}
		_ = unix.Close(namespaceFD + i)
	}
	if s.Hostname != "" {
		if err := unix.Sethostname([]byte(s.Hostname)); err != nil {
			return fmt.Errorf("set hostname: %w", err)
		}
	}
	return nil
}

// restrict gives up what the process is not to have.
func (s *Spec) restrict() error {
	if s.Root == nil {
		return s.Identity.assume() // it dies with the container's process 1
	}
	if err := s.Root.seal(); err != nil {
		return err
	}
	if err := s.Identity.assume(); err != nil {
		return err
	}
	return dieWithParent()
}

// enter makes dir the working directory, and creates it if need be.
func enter(dir string) error {
	if err := os.Chdir(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create working directory: %w", err)
	}
	if err := os.Chdir(dir); err != nil {
		return fmt.Errorf("enter working directory: %w", err)
	}
	return nil
}

// look finds the command, in the PATH of the container's environment.
func (s *Spec) look() (string, error) {
	if len(s.Args) == 0 || s.Args[0] == "" {
		return "", &Failure{Reason: ReasonCannotRun, ExitCode: 127, Message: "no command is given, neither by the pod nor by the image"}
	}
	for _, e := range s.Env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return "", fmt.Errorf("set PATH: %w", err)
			}
		}
	}
	path, err := exec.LookPath(s.Args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return "", cannotRun(s.Args[0], err)
	}
	return path, nil
}

func cannotRun(command string, err error) error {
	f := &Failure{Reason: ReasonCannotRun, ExitCode: 126, Message: fmt.Sprintf("cannot run %q: %v", command, err)}
	var wrapped *exec.Error
	if errors.As(err, &wrapped) {
		f.Message = fmt.Sprintf("cannot run %q: %v", command, wrapped.Err)
	}
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		f.ExitCode = 127
	}
	return f
}

// dieWithParent asks again for what the parent had asked for: the kernel
// forgets the death signal when a process changes its user.
func dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("ask for the death signal: %w", err)
	}
	// A parent that has died meanwhile has closed its end of the pipe.
	poll := []unix.PollFd{{Fd: failureFD}}
	if _, err := unix.Poll(poll, 0); err == nil && poll[0].Revents&unix.POLLERR != 0 {
		return errors.New("the container runtime has ended")
	}
	return nil
}
