package supervise

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/cluster"
	"mizzen.dev/mizzen/lab/internal/ports"
)

// ClusterCommand is the hidden command that becomes a cluster's process.
const ClusterCommand = "__cluster"

// reportFD is the descriptor on which that process writes its Reports.
const reportFD = 3

// Report is a line of JSON from a cluster's process to its supervisor.
type Report struct {
	// Port is where the API listens.
	Port int `json:"port,omitempty"`
	// Phase is what has been reached.
	Phase cluster.Phase `json:"phase,omitempty"`
	// Error is why the process ends.
	Error string `json:"error,omitempty"`
}

// ClusterOptions are the arguments of ClusterCommand.
type ClusterOptions struct {
	// Name is the cluster's.
	Name string
	// Nodes is the number of kwok nodes.
	Nodes int
	// Port is where the API should be served, and must be if PortRequired.
	Port         int
	PortRequired bool
}

// RunCluster is the process of one cluster, in its working directory.
func RunCluster(ctx context.Context, o ClusterOptions) error {
	unix.CloseOnExec(reportFD)
	reports := json.NewEncoder(os.NewFile(reportFD, "reports"))
	// A supervisor that no longer reads is dead, and we are about to be.
	report := func(r Report) { _ = reports.Encode(r) }
	listener, err := ports.Listen(o.Port, o.PortRequired)
	if err == nil {
		report(Report{Port: ports.Of(listener)})
		err = cluster.Run(ctx, cluster.Options{Name: o.Name, Listener: listener, Nodes: o.Nodes},
			func(p cluster.Phase) { report(Report{Phase: p}) })
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", o.Name, err)
		report(Report{Error: err.Error()})
	}
	return err
}
