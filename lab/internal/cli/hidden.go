package cli

import (
	"log/slog"
	"os"
	"runtime"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/cluster"
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
		Use: cluster.Command, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return supervise.RunCluster(cmd.Context(), c) },
	}
	f := cmd.Flags()
	f.StringVar(&c.Name, "name", "", "name")
	f.IntVar(&c.Nodes, "nodes", 0, "kwok nodes")
	f.IntVar(&c.Port, "port", 0, "preferred port")
	f.BoolVar(&c.PortRequired, "require-port", false, "no other port will do")
	f.StringVar(&c.Node, "live-node", "", "name of the live node")
	f.StringVar(&c.Boot, "boot", "", "id of the node's start")
	f.StringVar(&c.Pods, "pod-cidr", "", "range of pods")
	f.StringVar(&c.Services, "service-cidr", "", "range of Services")
	return cmd
}

func newNode() *cobra.Command {
	n := supervise.NodeOptions{}
	cmd := &cobra.Command{
		Use: supervise.NodeCommand, Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return supervise.RunNode(n) },
	}
	f := cmd.Flags()
	f.StringVar(&n.Cluster, "name", "", "name of the cluster")
	f.StringVar(&n.Node, "node", "", "name of the live node")
	f.StringVar(&n.Bin, "bin", "", "directory of programs")
	f.StringVar(&n.Images, "images", "", "further table of images")
	f.IntVar(&n.Port, "port", 0, "port of the API")
	f.IntVar(&n.Nodes, "nodes", 0, "kwok nodes")
	f.StringVar(&n.PodCIDR, "pod-cidr", "", "range of pods")
	f.StringVar(&n.ServiceCIDR, "service-cidr", "", "range of Services")
	f.StringArrayVar(&n.Join, "join", nil, "range of pods of a cluster to join, in the order of descriptors")
	f.BoolVar(&n.UserNamespace, "user-namespace", false, "ids are mapped")
	return cmd
}
