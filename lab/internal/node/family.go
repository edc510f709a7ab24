package node

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// family is the children of process 1: those that it started, and the orphans
// that the kernel gives it, which it has to reap too. Whoever waits for any
// child takes the end of every child, so that os/exec cannot be used here.
type family struct {
	mu   sync.Mutex
	ends map[int]func(unix.WaitStatus)
}

func newFamily() *family { return &family{ends: map[int]func(unix.WaitStatus){}} }

// program is what to start. Output nil means that of this process; extra
// becomes descriptor 3. Seeing nil means the mounts and the working directory
// of this process; else it starts in "/".
type program struct {
	path          string
	args          []string
	output, extra *os.File
	seeing        *view
}

// start starts p and calls ended, on a goroutine of its own, when it is over.
func (f *family) start(p program, ended func(unix.WaitStatus)) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	files := []*os.File{null, os.Stdout, os.Stderr}
	if p.output != nil {
		files[1], files[2] = p.output, p.output
	}
	if p.extra != nil {
		files = append(files, p.extra)
	}
	attr := &os.ProcAttr{Env: environment(), Files: files}
	if p.seeing != nil {
		attr.Dir = "/"
	}
	// It is not reaped before it is known.
	f.mu.Lock()
	defer f.mu.Unlock()
	var child *os.Process
	p.seeing.do(func() { child, err = os.StartProcess(p.path, p.args, attr) })
	if err != nil {
		return err
	}
	f.ends[child.Pid] = ended
	return child.Release()
}

// reap waits for children as long as there are any.
func (f *family) reap() {
	for {
		var end unix.WaitStatus
		pid, err := unix.Wait4(-1, &end, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			// Without children there is no control plane.
			fmt.Fprintln(os.Stderr, "wait for children:", err)
			os.Exit(1)
		}
		f.mu.Lock()
		ended := f.ends[pid]
		delete(f.ends, pid)
		f.mu.Unlock()
		if ended != nil {
			go ended(end)
		}
	}
}
