package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/engine/beside"
	"mizzen.dev/mizzen/internal/engine/review"
	"mizzen.dev/mizzen/internal/live"
)

// contextOfMesh says what a mesh depends on beside a repository: settings in a
// file, and objects that only a cluster has.
type contextOfMesh struct {
	config   string
	complete bool
}

// register adds the flags; prefix stands before what they say.
func (m *contextOfMesh) register(cmd *cobra.Command, prefix string) {
	flags := cmd.Flags()
	flags.StringVar(&m.config, "mesh-config", "", prefix+"a file with Istio's mesh configuration, laid over the one of the clone")
	flags.BoolVar(&m.complete, "live", false, prefix+"add the objects of the cluster (--context) that matter to the mesh and that Git does not hold; Secrets are never read")
}

// settings reads the mesh configuration; empty if no file is named.
func (m *contextOfMesh) settings() (string, error) {
	if m.config == "" {
		return "", nil
	}
	b, err := os.ReadFile(m.config)
	if err != nil {
		return "", &mizzen.Error{Kind: mizzen.NotFound, Object: "--mesh-config", Err: err, Remedy: "name a file with Istio's mesh configuration, as in meshConfig of istiod's values"}
	}
	return string(b), nil
}

// live reads the cluster, which the repository knows by a name; nil if it is
// not asked for.
func (m *contextOfMesh) live(ctx context.Context, a *app, name string) (*review.Live, error) {
	if !m.complete {
		return nil, nil
	}
	config, err := a.kube.config()
	if err != nil {
		return nil, err
	}
	config.Wrap(patient(firstAnswer))
	cluster, err := live.New(config, live.Options{})
	if err != nil {
		return nil, err
	}
	objects, err := beside.Read(ctx, cluster)
	if err != nil {
		return nil, notRead(config.Host, err)
	}
	return &review.Live{Server: config.Host, Cluster: name, Objects: objects}, nil
}

// notRead gives an error the remedy of a command line, which does not try again
// by itself.
func notRead(host string, err error) error {
	kind := mizzen.KindOf(err)
	if errors.Is(err, context.Canceled) || kind != mizzen.Unreachable && kind != mizzen.Timeout {
		return err
	}
	return unreachable("cluster "+host, fmt.Errorf("%s does not answer: %s", server(host), cause(err)))
}
