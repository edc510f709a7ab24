package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/process"
	"mizzen.dev/mizzen/lab/internal/state"
)

const (
	// poll is how often a waiting verb reads the Status.
	poll = 20 * time.Millisecond
	// birth is how long a supervisor may take to its first Status.
	birth = 2 * time.Second
	// hopeless is after how many failures of a cluster in a row `up` gives up.
	hopeless = 3
)

type upOptions struct {
	clusters, nodes int
	idle            time.Duration
	resume, demo    bool
	serving         bool
	tracing         bool
	timeout         time.Duration
	live, joined    bool
	pods, services  string
	bin, images     string
}

func newUp(o *options) *cobra.Command {
	up := upOptions{}
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start the lab, or add to the one that runs, and wait until it is ready",
		Long: "Starts the lab in the background and returns when pods can be scheduled in every cluster.\n" +
			"If the lab runs already, it is kept, and gets the clusters that it lacks.\n" +
			"Clusters start empty, Git repositories are those of the last time.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			if err := up.complete(cmd.Flags()); err != nil {
				return err
			}
			if err := prepare(cmd.Context(), cmd.ErrOrStderr(), dir, up); err != nil {
				return err
			}
			status, err := up.run(cmd.Context(), dir)
			if err != nil {
				return err
			}
			dropSilent(cmd.Context(), status)
			if err := printStatus(cmd.OutOrStdout(), status); err != nil || !up.demo {
				return err
			}
			return up.layDemo(cmd, dir)
		},
	}
	f := cmd.Flags()
	f.IntVar(&up.clusters, "clusters", 1, "at least so many clusters")
	f.IntVar(&up.nodes, "nodes", 2, "kwok nodes of each new cluster")
	f.DurationVar(&up.idle, "idle", 0, "end the lab when nobody has held a lease for so long (0: never)")
	f.BoolVar(&up.resume, "resume", false, "start on the data of a lab that was killed or kept")
	f.BoolVar(&up.serving, "serving", false, "return when the API of every cluster answers, before pods can be scheduled")
	f.BoolVar(&up.demo, "demo", false, "create the demo's repository too, or let the one that exists follow this lab and its version")
	f.BoolVar(&up.tracing, "tracing", false, "with --demo: with Jaeger; --tracing=false: without (default: as it is)")
	f.BoolVar(&up.live, "live", false, "give each cluster a node whose pods run")
	f.BoolVar(&up.joined, "joined", false, "let live clusters reach each other's pods and nodes by address")
	f.StringVar(&up.pods, "pod-cidr", "10.244.0.0/16", "addresses of pods of the first live cluster; the next ones follow")
	f.StringVar(&up.services, "service-cidr", "10.96.0.0/16", "addresses of Services of the first live cluster; the next ones follow")
	f.StringVar(&up.bin, "bin", "", "directory of the programs of a live node (default that of lab)")
	f.StringVar(&up.images, "images", "", "file with a further table of images for a live node")
	f.DurationVar(&up.timeout, "timeout", 10*time.Minute, "give up after")
	return cmd
}

// layDemo makes the demo's repository that of this lab.
func (up upOptions) layDemo(cmd *cobra.Command, dir state.Dir) error {
	existed, err := createDemo(cmd.Context(), cmd.OutOrStdout(), dir, up.tracing)
	if err != nil || !existed {
		return err
	}
	tracing := &up.tracing
	if !cmd.Flags().Changed("tracing") {
		tracing = nil
	}
	return updateDemo(cmd.Context(), cmd.ErrOrStderr(), dir, tracing)
}

// run makes sure that the lab is up and returns its Status.
func (up upOptions) run(ctx context.Context, dir state.Dir) (state.Status, error) {
	if err := dir.Create(); err != nil {
		return state.Status{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, up.timeout)
	defer cancel()
	for {
		generation, gone, err := up.ensure(dir)
		if err != nil {
			return state.Status{}, err
		}
		status, err := await(ctx, dir, generation, gone, up.judge)
		if err != nil && gone != nil && ctx.Err() == nil {
			// It would try for ever what has no prospect.
			err = errors.Join(err, down(ctx, dir, true, false))
		}
		if !errors.Is(err, errGone) {
			return status, err
		}
		// The supervisor that we found was about to end: start our own.
	}
}

// errGone says that a supervisor which somebody else started is no more.
var errGone = errors.New("the supervisor ended")

// ensure starts a supervisor if there is none, else tells it what is wanted.
// It returns the generation to wait for, and a channel on which the end of
// our own supervisor arrives.
func (up upOptions) ensure(dir state.Dir) (int64, <-chan error, error) {
	lock, err := dir.LockSupervisor()
	if errors.Is(err, state.ErrLocked) {
		spec, err := dir.ChangeSpec(func(s *state.Spec) error { return up.join(s) })
		if err != nil {
			return 0, nil, err
		}
		return spec.Generation, nil, notify(dir)
	} else if err != nil {
		return 0, nil, err
	}
	defer lock.Close()
	spec, err := dir.ChangeSpec(func(s *state.Spec) error { return up.begin(s) })
	if err != nil {
		return 0, nil, err
	}
	gone, err := launch(dir, lock)
	return spec.Generation, gone, err
}

// launch starts the supervisor in the background; it inherits the lock.
func launch(dir state.Dir, lock *os.File) (<-chan error, error) {
	log, err := os.OpenFile(dir.Log(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", superviseCommand, "--dir", string(dir))
	cmd.Args[0], cmd.Dir = "lab", string(dir)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{lock}
	process.Detach(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("supervisor: %w", err)
	}
	gone := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		if err == nil {
			err = errors.New("somebody ended it")
		}
		gone <- fmt.Errorf("the supervisor did not stay: %w\n%s", err, tail(dir.Log()))
	}()
	return gone, nil
}

// notify makes the supervisor read the Spec at once. One that has not written
// its Status yet reads it anyway.
func notify(dir state.Dir) error {
	status, err := dir.ReadStatus()
	if err != nil {
		return err
	}
	if err := status.Supervisor.Signal(unix.SIGHUP); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("supervisor: %w", err)
	}
	return nil
}

// await returns the first Status that has observed generation and that judge
// has settled. gone tells of the end of a supervisor of ours; without it, await
// returns errGone when no supervisor shows up.
func await(ctx context.Context, dir state.Dir, generation int64, gone <-chan error, judge func(state.Status) (done bool, err error)) (state.Status, error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	// Before the first Status of a new supervisor there is the last one's.
	absent := time.Now()
	for {
		status, err := dir.ReadStatus()
		if err != nil {
			return status, err
		}
		if status.ObservedGeneration >= generation {
			if done, err := judge(status); done {
				return status, err
			}
		}
		if status.Supervisor.Alive() {
			absent = time.Now()
		}
		if gone == nil && time.Since(absent) > birth {
			return status, errGone
		}
		select {
		case err := <-gone:
			return status, err
		case <-ctx.Done():
			return status, fmt.Errorf("lab is not ready: %w; see `lab status` and `lab logs`", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// judge reports whether it is settled that the lab is up, or cannot be.
func (up upOptions) judge(status state.Status) (done bool, err error) {
	for _, c := range status.Clusters {
		if c.State == state.Failed && c.Failures >= hopeless {
			return true, fmt.Errorf("%s does not start: %s\nlook at `lab logs %[1]s`; `lab down` starts from nothing", c.Name, c.Message)
		}
	}
	return status.State == state.Ready || up.serving && serving(status), nil
}

// serving reports whether the API of every cluster answers.
func serving(status state.Status) bool {
	for _, c := range status.Clusters {
		runs := c.State == state.Starting || c.State == state.Ready
		if !runs || c.ServingSeconds == 0 {
			return false
		}
	}
	return len(status.Clusters) > 0
}

// tail returns the end of a file, for a message.
func tail(path string) string {
	const most = 2000
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
