package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mizzen.dev/mizzen/lab/internal/process"
)

// Program is a program that runs beside the clusters, such as Mizzen.
type Program struct {
	// Process is the program's.
	Process process.ID `json:"process"`
	// Key changes with whatever the program was started from.
	Key string `json:"key"`
}

const programs = "programs"

// Programs lists the names of the programs that were started, running or not.
func (d Dir) Programs() ([]string, error) {
	entries, err := os.ReadDir(d.file(programs))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("programs: %w", err)
	}
	var names []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// LockProgram waits until nobody else starts or ends the program.
func (d Dir) LockProgram(name string) (*os.File, error) {
	if err := os.MkdirAll(d.file(programs), 0o700); err != nil {
		return nil, fmt.Errorf("programs: %w", err)
	}
	return d.lock(filepath.Join(programs, name+".lock"), true)
}

// ReadProgram returns the program, or a zero one if it was never started.
func (d Dir) ReadProgram(name string) (Program, error) {
	var p Program
	return p, d.read(filepath.Join(programs, name+".json"), &p)
}

// WriteProgram says what runs under a name.
func (d Dir) WriteProgram(name string, p Program) error {
	return d.write(filepath.Join(programs, name+".json"), p)
}

// ForgetProgram removes what is known of a program that has ended.
func (d Dir) ForgetProgram(name string) error {
	err := os.Remove(d.file(programs, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// programLogs lists the names of the logs of all programs that ever ran.
func (d Dir) programLogs() ([]string, error) {
	locks, err := filepath.Glob(d.file(programs, "*.lock"))
	var logs []string
	for _, lock := range locks {
		log := filepath.Base(d.ProgramLog(strings.TrimSuffix(filepath.Base(lock), ".lock")))
		logs = append(logs, log, log+".1")
	}
	return logs, err
}

// ProgramLog is the log of a program; that of the run before it ends in ".1".
func (d Dir) ProgramLog(name string) string { return d.file(name + ".log") }
