package process

import (
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Spawner starts children that the kernel kills when this process dies,
// however it dies.
type Spawner struct {
	work chan func()
}

// NewSpawner returns a Spawner. It lasts as long as the process.
func NewSpawner() *Spawner {
	s := &Spawner{work: make(chan func())}
	go func() {
		// The death signal follows the thread that forked, not the process:
		// children come from one thread that never ends.
		runtime.LockOSThread()
		for f := range s.work {
			f()
		}
	}()
	return s
}

// Start starts cmd as such a child.
func (s *Spawner) Start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &unix.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	done := make(chan error)
	s.work <- func() { done <- cmd.Start() }
	return <-done
}

// Detach prepares cmd to outlive this process and its terminal.
func Detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
}
