// Package program runs programs of the user's beside a lab, such as Mizzen, in
// the background. In comes a command; what runs is noted in the state directory,
// so that whoever ends the lab ends its programs too.
package program

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/process"
	"mizzen.dev/mizzen/lab/internal/state"
)

// Command is the hidden command of bin/lab that calls Become.
const Command = "__program"

const (
	// grace is how long a program may take to end. Mizzen finishes what it is
	// writing.
	grace = 20 * time.Second
	// poll is how often it is looked whether a program has said who it is.
	poll = 20 * time.Millisecond
)

// ErrShort says that a program ended as soon as it was started.
var ErrShort = errors.New("did not stay")

var valid = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

// Run starts a program, or keeps the one that runs under the name, unless its
// file, its arguments or a file that it uses has changed: then that is ended
// first.
func Run(ctx context.Context, dir state.Dir, name string, args, uses []string) error {
	if !valid.MatchString(name) {
		return fmt.Errorf("%q is no name of a program: use a-z, 0-9 and '-'", name)
	}
	path, err := exec.LookPath(args[0])
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return err
	}
	args = append([]string{path}, args[1:]...)
	digest, err := key(args, append(uses, path))
	if err != nil {
		return err
	}
	if err := dir.Create(); err != nil {
		return err
	}
	lock, err := dir.LockProgram(name)
	if err != nil {
		return err
	}
	defer lock.Close()
	former, err := dir.ReadProgram(name)
	if err != nil {
		return err
	}
	if former.Key == digest && former.Process.Alive() {
		return nil
	}
	if err := former.Process.End(unix.SIGTERM, grace); err != nil {
		return fmt.Errorf("end the former %s: %w", name, err)
	}
	return start(ctx, dir, name, digest, args)
}

// key digests the arguments and the contents of the files.
func key(args, files []string) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q\n", args, files)
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("%s: %w", path, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// start starts it and waits until it has said who it is.
func start(ctx context.Context, dir state.Dir, name, digest string, args []string) error {
	log, err := newLog(dir.ProgramLog(name))
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", append([]string{Command, "--dir", string(dir), name, digest}, args...)...)
	cmd.Args[0] = "lab"
	cmd.Stdout, cmd.Stderr = log, log
	process.Detach(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		p, err := dir.ReadProgram(name)
		if err != nil || p.Process.PID == cmd.Process.Pid && p.Key == digest {
			return err
		}
		select {
		case err := <-gone:
			return fmt.Errorf("%s %w: %w; see %s", name, ErrShort, err, log.Name())
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// newLog puts the log of the run before aside, and begins a new one.
func newLog(path string) (*os.File, error) {
	if err := os.Rename(path, path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
}

// Become writes the caller's identity, which stays the same when it becomes the
// program: however early its parent dies, no program runs that End does not
// find. It returns only if that fails.
func Become(dir state.Dir, name, key string, args []string) error {
	self, err := process.Self()
	if err != nil {
		return err
	}
	if err := dir.WriteProgram(name, state.Program{Process: self, Key: key}); err != nil {
		return err
	}
	return unix.Exec(args[0], args, os.Environ())
}

// End ends a program; one that does not run is no error.
func End(dir state.Dir, name string) error {
	if _, err := os.Stat(string(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := dir.LockProgram(name)
	if err != nil {
		return err
	}
	defer lock.Close()
	p, err := dir.ReadProgram(name)
	if err != nil {
		return err
	}
	if err := p.Process.End(unix.SIGTERM, grace); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return dir.ForgetProgram(name)
}

// EndAll ends all programs.
func EndAll(dir state.Dir) error {
	names, err := dir.Programs()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, End(dir, name))
	}
	return errors.Join(errs...)
}
