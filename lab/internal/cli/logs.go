package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
)

func newLogs(o *options) *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs [CLUSTER]",
		Short: "Print the log of the lab, or of one of its clusters",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			path, what := dir.Log(), "the lab"
			if len(args) == 1 {
				path, what = dir.ClusterLog(args[0]), args[0]
			}
			f, err := os.Open(path)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s has no log in %s: see `lab status`", what, dir)
			} else if err != nil {
				return fmt.Errorf("log: %w", err)
			}
			defer f.Close()
			return copyLog(cmd.Context(), cmd.OutOrStdout(), f, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until interrupted")
	return cmd
}

func copyLog(ctx context.Context, w io.Writer, r io.Reader, follow bool) error {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := io.Copy(w, r); err != nil {
			return fmt.Errorf("log: %w", err)
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
