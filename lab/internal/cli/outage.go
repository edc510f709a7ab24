package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen/lab/internal/state"
)

func newStop(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "stop CLUSTER",
		Short: "Play an outage: kill a cluster, keep its port and data",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return setOutage(cmd.Context(), o, args[0], true)
		},
	}
}

func newStart(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "start CLUSTER",
		Short: "End an outage: start the cluster again where it was",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return setOutage(cmd.Context(), o, args[0], false)
		},
	}
}

// setOutage says whether the named cluster should be down and waits until it
// is so.
func setOutage(ctx context.Context, o *options, name string, stopped bool) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	dir, err := o.locate()
	if err != nil {
		return err
	}
	status, err := dir.ReadStatus()
	if err != nil {
		return err
	}
	if status.State == state.Stopped {
		return errors.New("the lab does not run: start it with `lab up`")
	}
	if !slices.ContainsFunc(status.Clusters, func(c state.Cluster) bool { return c.Name == name }) {
		return fmt.Errorf("there is no cluster %q: see `lab status`", name)
	}
	spec, err := dir.ChangeSpec(func(s *state.Spec) error {
		s.Stopped = slices.DeleteFunc(s.Stopped, func(n string) bool { return n == name })
		if stopped {
			s.Stopped = append(s.Stopped, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := notify(dir); err != nil {
		return err
	}
	status, err = await(ctx, dir, spec.Generation, nil, upOptions{}.judge)
	if err != nil || !stopped {
		return err
	}
	return awaitStopped(ctx, dir, name)
}

// awaitStopped returns when the process of the cluster is gone.
func awaitStopped(ctx context.Context, dir state.Dir, name string) error {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		status, err := dir.ReadStatus()
		if err != nil {
			return err
		}
		for _, c := range status.Clusters {
			if c.Name == name && c.State == state.Stopped && !c.Process.Alive() {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s still runs: %w", name, ctx.Err())
		case <-tick.C:
		}
	}
}
