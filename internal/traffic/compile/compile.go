// Package compile turns objects into what istiod would send to each proxy, with
// istiod's own code. That code keeps state in globals and logs as it likes:
// call it in a worker process only, one Compile at a time.
package compile

import (
	"context"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"

	_ "istio.io/istio/pilot/pkg/config/kube/gateway"
	_ "istio.io/istio/pilot/pkg/config/kube/ingress"
	_ "istio.io/istio/pilot/pkg/networking/core"
	_ "istio.io/istio/pilot/pkg/serviceregistry/kube/controller"
	_ "istio.io/istio/pilot/pkg/xds"
	_ "istio.io/istio/pkg/config/analysis/analyzers"
	_ "istio.io/istio/pkg/config/analysis/local"
)

// Options are the settings of a mesh.
type Options struct {
	// MeshConfig is YAML as in istiod's ConfigMap, laid over Istio's defaults.
	MeshConfig []byte
	// RootNamespace is where istiod looks for mesh-wide settings; empty means
	// istio-system.
	RootNamespace string
}

// Compile returns the mesh that objects make. Objects that istiod ignores are
// in the result's Rejected; an error means that nothing can be said.
func Compile(ctx context.Context, objects []mizzen.Object, o Options) (*traffic.Mesh, error) {
	panic("not yet")
}
