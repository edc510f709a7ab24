// Package process identifies, starts and ends the processes of a lab. A
// process is its id and the moment of its start, so that an id which the
// kernel gave to somebody else meanwhile gets no signal; children die with
// the process that started them.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ID names one process for ever.
type ID struct {
	// PID is the process id.
	PID int `json:"pid"`
	// Start is when the process started, in clock ticks after the boot.
	Start uint64 `json:"start"`
	// Boot is the kernel's random id of the boot.
	Boot string `json:"boot"`
}

// Self returns the calling process.
func Self() (ID, error) { return Of(os.Getpid()) }

// Of returns the process that has pid now.
func Of(pid int) (ID, error) {
	s, err := stat(pid)
	if err != nil {
		return ID{}, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ID{}, fmt.Errorf("id of the boot: %w", err)
	}
	return ID{PID: pid, Start: s.start, Boot: strings.TrimSpace(string(boot))}, nil
}

// Alive reports whether the process still runs. A zombie does not, unless other
// threads of it do: process 1 of a pid namespace ends the others in one of them.
func (id ID) Alive() bool {
	if id.PID <= 0 {
		return false
	}
	now, err := Of(id.PID)
	if err != nil || now != id {
		return false
	}
	s, err := stat(id.PID)
	return err == nil && s.state != 'X' && (s.state != 'Z' || s.threads > 1)
}

// Signal sends sig to the process and returns os.ErrProcessDone if it has
// ended.
func (id ID) Signal(sig unix.Signal) error {
	if id.PID <= 0 {
		return os.ErrProcessDone
	}
	// The descriptor holds on to whoever has the id now; if the check that
	// follows succeeds, the signal cannot reach anybody else.
	fd, err := unix.PidfdOpen(id.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	} else if err != nil {
		return fmt.Errorf("process %d: %w", id.PID, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if !id.Alive() {
		return os.ErrProcessDone
	}
	err = unix.PidfdSendSignal(fd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// End sends sig and waits until the process has ended, or kills it when it has
// not after grace.
func (id ID) End(sig unix.Signal, grace time.Duration) error {
	for _, s := range []unix.Signal{sig, unix.SIGKILL} {
		if err := id.Signal(s); errors.Is(err, os.ErrProcessDone) {
			return nil
		} else if err != nil {
			return err
		}
		for end := time.Now().Add(grace); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if !id.Alive() {
				return nil
			}
		}
	}
	return fmt.Errorf("process %d did not end", id.PID)
}

// status is what is read of a process: when it started, its state's letter and
// its number of threads (proc_pid_stat(5), fields 22, 3 and 20).
type status struct {
	start   uint64
	state   byte
	threads int
}

func stat(pid int) (status, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return status{}, fmt.Errorf("process %d: %w", pid, err)
	}
	// The second field is the command in parentheses; it may contain any byte.
	i := bytes.LastIndexByte(data, ')')
	fields := bytes.Fields(data[i+1:])
	if i < 0 || len(fields) < 20 {
		return status{}, fmt.Errorf("process %d: unexpected stat", pid)
	}
	start, err := strconv.ParseUint(string(fields[19]), 10, 64)
	if err != nil {
		return status{}, fmt.Errorf("process %d: start: %w", pid, err)
	}
	threads, err := strconv.Atoi(string(fields[17]))
	if err != nil {
		return status{}, fmt.Errorf("process %d: threads: %w", pid, err)
	}
	return status{start: start, state: fields[0][0], threads: threads}, nil
}
