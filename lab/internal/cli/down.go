package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/program"
	"mizzen.dev/mizzen/lab/internal/state"
)

// grace is how long the supervisor may take to end its children.
const grace = 10 * time.Second

func newDown(o *options) *cobra.Command {
	var keep, purge bool
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End every process of the lab and remove its clusters",
		Long: "Ends every process of the lab, and programs that `lab run` started. The data of the clusters is removed, Git repositories and ports stay.\n" +
			"A lab that is down already stays down.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			return down(cmd.Context(), dir, keep, purge)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the data of the clusters, for `lab up --resume`")
	cmd.Flags().BoolVar(&purge, "purge", false, "remove the Git repositories, ports, logs and what programs keep, too")
	cmd.MarkFlagsMutuallyExclusive("keep", "purge")
	return cmd
}

func down(ctx context.Context, dir state.Dir, keep, purge bool) error {
	if _, err := os.Stat(string(dir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := program.EndAll(dir); err != nil {
		return err
	}
	lock, err := endSupervisor(ctx, dir)
	if err != nil {
		return err
	}
	defer lock.Close() // nobody starts a lab while we clear up
	last, err := dir.LastStatus()
	if err != nil {
		return err
	}
	for _, c := range last.Clusters {
		if err := c.Process.End(unix.SIGKILL, grace); err != nil {
			return fmt.Errorf("%s: %w", c.Name, err)
		}
	}
	if keep {
		return nil
	}
	return dir.Reset(purge)
}

// endSupervisor ends the supervisor, if there is one, and returns its lock.
func endSupervisor(ctx context.Context, dir state.Dir) (*os.File, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*grace)
	defer cancel()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		lock, err := dir.LockSupervisor()
		if err == nil || !errors.Is(err, state.ErrLocked) {
			return lock, err
		}
		status, err := dir.ReadStatus()
		if err != nil {
			return nil, err
		}
		if err := status.Supervisor.End(unix.SIGTERM, grace); err != nil {
			return nil, fmt.Errorf("supervisor: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("somebody holds the lock of %s: %w", dir, ctx.Err())
		case <-tick.C:
		}
	}
}
