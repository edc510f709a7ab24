package supervise

import (
	"context"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/cluster"
	"mizzen.dev/mizzen/lab/internal/node"
	"mizzen.dev/mizzen/lab/internal/ports"
)

// reportFD is the descriptor on which a cluster's process writes its Reports.
const reportFD = 3

// ClusterOptions are the arguments of cluster.Command.
type ClusterOptions struct {
	// Name is the cluster's.
	Name string
	// Nodes is the number of kwok nodes.
	Nodes int
	// Port is where the API should be served, and must be if PortRequired.
	Port         int
	PortRequired bool
	// Node is the live node, and Boot the id of its start; "" if there is none.
	Node, Boot string
	// Pods and Services are the ranges of a live cluster.
	Pods, Services string
}

// live returns what the cluster is told of its live node.
func (o ClusterOptions) live() (*cluster.Live, error) {
	if o.Node == "" {
		return nil, nil
	}
	pods, err := netip.ParsePrefix(o.Pods)
	if err != nil {
		return nil, fmt.Errorf("range of pods: %w", err)
	}
	services, err := netip.ParsePrefix(o.Services)
	if err != nil {
		return nil, fmt.Errorf("range of Services: %w", err)
	}
	return &cluster.Live{Node: o.Node, Address: node.Address(pods), Services: services, Boot: o.Boot}, nil
}

// RunCluster is the process of one cluster, in its working directory.
func RunCluster(ctx context.Context, o ClusterOptions) error {
	unix.CloseOnExec(reportFD)
	reports := cluster.NewReporter(os.NewFile(reportFD, "reports"))
	err := runCluster(ctx, o, reports)
	if err != nil {
		err = fmt.Errorf("%s: %w", o.Name, err)
		reports.Report(cluster.Report{Error: err.Error()})
	}
	return err
}

func runCluster(ctx context.Context, o ClusterOptions, reports *cluster.Reporter) error {
	live, err := o.live()
	if err != nil {
		return err
	}
	listen := ports.Listen
	if live != nil {
		listen = ports.ListenEverywhere
	}
	listener, err := listen(o.Port, o.PortRequired)
	if err != nil {
		return err
	}
	reports.Report(cluster.Report{Port: ports.Of(listener)})
	return cluster.Run(ctx, cluster.Options{Name: o.Name, Listener: listener, Nodes: o.Nodes, Live: live},
		func(p cluster.Phase) { reports.Report(cluster.Report{Phase: p}) })
}
