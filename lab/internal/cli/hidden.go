package cli

import (
	"log/slog"
	"os"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/supervise"
)

// superviseCommand is the hidden command that becomes the supervisor. It
// inherits the supervisor's lock as lockFD.
const (
	superviseCommand = "__supervise"
	lockFD           = 3
)

func newSupervise(o *options) *cobra.Command {
	return &cobra.Command{
		Use: superviseCommand, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Children must not inherit the lock: it would outlive us in them.
			unix.CloseOnExec(lockFD)
			lock := os.NewFile(lockFD, "supervisor.lock")
			defer runtime.KeepAlive(lock)
			dir, err := o.locate()
			if err != nil {
				return err
			}
			return supervise.Run(cmd.Context(), dir, slog.New(slog.NewTextHandler(os.Stderr, nil)))
		},
	}
}

func newCluster() *cobra.Command {
	c := supervise.ClusterOptions{}
	cmd := &cobra.Command{
		Use: supervise.ClusterCommand, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return supervise.RunCluster(cmd.Context(), c) },
	}
	f := cmd.Flags()
	f.StringVar(&c.Name, "name", "", "name")
	f.IntVar(&c.Nodes, "nodes", 0, "kwok nodes")
	f.IntVar(&c.Port, "port", 0, "preferred port")
	f.BoolVar(&c.PortRequired, "require-port", false, "no other port will do")
	return cmd
}
