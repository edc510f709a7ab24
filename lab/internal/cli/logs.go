package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen/lab/internal/state"
)

type logsOptions struct {
	follow             bool
	cluster, container string
}

func newLogs(o *options) *cobra.Command {
	l := logsOptions{}
	cmd := &cobra.Command{
		Use:   "logs [CLUSTER[/COMPONENT] | [NAMESPACE/]POD]",
		Short: "Print the log of the lab, of a cluster, of a component of its node, or of a pod",
		Long: "Without an argument, prints the log of the lab; with cluster-1 that of the cluster, with cluster-1/kubelet that of a\n" +
			"component of its live node (lab-cri, kubelet, kube-proxy, coredns), else that of a pod that runs.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			return l.print(cmd.Context(), cmd.OutOrStdout(), dir, strings.Join(args, ""))
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&l.follow, "follow", "f", false, "go on until interrupted")
	f.StringVar(&l.cluster, "cluster", "cluster-1", "cluster of the pod")
	f.StringVarP(&l.container, "container", "c", "", "container of the pod (default that of its annotation, else the first)")
	return cmd
}

func (l logsOptions) print(ctx context.Context, w io.Writer, dir state.Dir, what string) error {
	path, err := logFile(dir, what)
	if err != nil {
		return err
	}
	if path == "" {
		return l.printPod(ctx, w, dir, what)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there is no log of %s in %s: see `lab status`", orLab(what), dir)
	} else if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	defer f.Close()
	return copyLog(ctx, w, f, l.follow)
}

func orLab(what string) string {
	if what == "" {
		return "the lab"
	}
	return what
}

// logFile returns the file that has the log, or "" if it is that of a pod.
func logFile(dir state.Dir, what string) (string, error) {
	if what == "" {
		return dir.Log(), nil
	}
	status, err := dir.ReadStatus()
	if err != nil {
		return "", err
	}
	name, component, of := strings.Cut(what, "/")
	switch {
	case !slices.ContainsFunc(status.Clusters, func(c state.Cluster) bool { return c.Name == name }):
		return "", nil
	case of:
		if strings.ContainsAny(component, "/.") {
			return "", fmt.Errorf("%q is no component", component)
		}
		return dir.ComponentLog(name, component), nil
	}
	return dir.ClusterLog(name), nil
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
