package cli

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

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/process"
	"mizzen.dev/mizzen/lab/internal/state"
)

// programCommand is the hidden command that says who it is and then becomes
// the program.
const programCommand = "__program"

// programGrace is how long a program may take to end. Mizzen finishes what it
// is writing.
const programGrace = 20 * time.Second

var validProgram = regexp.MustCompile(`^[a-z][a-z0-9-]{0,30}$`)

func newRun(o *options) *cobra.Command {
	var uses []string
	cmd := &cobra.Command{
		Use:   "run NAME COMMAND [ARG...]",
		Short: "Run a program beside the lab, in the background",
		Long: "Runs a program in the background until `lab end NAME` or `lab down`; its log is NAME.log.\n" +
			"One that runs already is kept, unless its file, its arguments or a file that it uses has changed:\n" +
			"then it is ended and started anew.",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			return run(cmd.Context(), dir, args[0], args[1:], uses)
		},
	}
	cmd.Flags().StringArrayVar(&uses, "uses", nil, "a file whose change starts the program anew")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func newEnd(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "end NAME",
		Short: "End a program that `lab run` started",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			return endProgram(dir, args[0])
		},
	}
}

func run(ctx context.Context, dir state.Dir, name string, args, uses []string) error {
	if !validProgram.MatchString(name) {
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
	key, err := programKey(args, append(uses, path))
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
	if former.Key == key && former.Process.Alive() {
		return nil
	}
	if err := former.Process.End(unix.SIGTERM, programGrace); err != nil {
		return fmt.Errorf("end the former %s: %w", name, err)
	}
	return startProgram(ctx, dir, name, key, args)
}

// programKey digests the arguments and the contents of the files.
func programKey(args, files []string) (string, error) {
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

// startProgram starts it and waits until it has said who it is.
func startProgram(ctx context.Context, dir state.Dir, name, key string, args []string) error {
	log, err := newProgramLog(dir.ProgramLog(name))
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", append([]string{programCommand, "--dir", string(dir), name, key}, args...)...)
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
		if err != nil || p.Process.PID == cmd.Process.Pid && p.Key == key {
			return err
		}
		select {
		case err := <-gone:
			return fmt.Errorf("%s did not stay: %w\n%s", name, err, tail(log.Name()))
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// newProgramLog puts the log of the run before aside, and begins a new one.
func newProgramLog(path string) (*os.File, error) {
	if err := os.Rename(path, path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
}

// newProgram is the child of startProgram. It writes its own identity, which
// stays the same when it becomes the program: however early its parent dies,
// no program runs that `lab end` does not find.
func newProgram(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: programCommand, Hidden: true, Args: cobra.MinimumNArgs(3),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			self, err := process.Self()
			if err != nil {
				return err
			}
			if err := dir.WriteProgram(args[0], state.Program{Process: self, Key: args[1]}); err != nil {
				return err
			}
			return unix.Exec(args[2], args[2:], os.Environ())
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// endProgram ends a program; one that does not run is no error.
func endProgram(dir state.Dir, name string) error {
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
	if err := p.Process.End(unix.SIGTERM, programGrace); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return dir.ForgetProgram(name)
}

// endPrograms ends all programs.
func endPrograms(dir state.Dir) error {
	names, err := dir.Programs()
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, endProgram(dir, name))
	}
	return errors.Join(errs...)
}
