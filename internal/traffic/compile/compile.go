// Package compile turns objects into what istiod would send to each proxy, with
// istiod's own code. That code keeps state in globals and logs as it likes:
// call it in a worker process only, one Compile at a time.
package compile

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pkg/test"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// Options are the settings of a mesh.
type Options struct {
	// MeshConfig is YAML as in istiod's ConfigMap, laid over what the objects
	// say (the ConfigMap "istio" of Istio's chart) and Istio's defaults.
	MeshConfig []byte
	// RootNamespace is where istiod looks for mesh-wide settings; empty means
	// istio-system.
	RootNamespace string
	// Vantage says which proxies the mesh is to have; nil means all.
	Vantage *Vantage
	// Selections ask for workloads where none is known; see Selections.
	Selections []Selection
	// Newcomers are objects that are younger than all others (see Newcomers).
	Newcomers []mizzen.Ref
}

// DefaultRoot is where istiod looks for mesh-wide settings unless told otherwise.
const DefaultRoot = "istio-system"

// Compile returns the mesh that objects make. Objects that istiod ignores are
// in the result's Rejected; an error means that nothing can be said.
func Compile(ctx context.Context, objects []mizzen.Object, o Options) (mesh *traffic.Mesh, err error) {
	if o.RootNamespace == "" {
		o.RootNamespace = DefaultRoot
	}
	// The function runs in a goroutine of its own.
	failed := test.Wrap(func(t test.Failer) {
		mesh, err = build(ctx, t, objects, o)
	})
	return mesh, errors.Join(err, failed)
}

// build compiles objects. The istiod that it starts ends with t.
func build(ctx context.Context, t test.Failer, objects []mizzen.Object, o Options) (mesh *traffic.Mesh, err error) {
	// A defect of istiod's code must not take the whole plan with it.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("istiod's code panics: %v\n%s", p, debug.Stack())
		}
	}()
	in, err := read(objects, o)
	if err != nil {
		return nil, err
	}
	e, err := start(t, in)
	if err != nil {
		return nil, err
	}
	proxies, err := e.proxies(ctx, in, o.Vantage)
	if err != nil {
		return nil, err
	}
	mesh = &traffic.Mesh{
		Proxies: proxies, Hosts: e.hosts(), Addresses: e.addresses(), Aliases: e.aliases(), Contested: in.contested(), Rejected: in.rejected, Origins: in.origins, Injected: in.injected,
		TrustDomain: trustDomain(in.mesh), RootNamespace: in.mesh.RootNamespace,
	}
	if e.tunnels != nil {
		mesh.Waypoints = e.tunnels.mesh.waypoints
	}
	for _, w := range in.workloads {
		mesh.Workloads = append(mesh.Workloads, &w.Workload)
	}
	return mesh, nil
}

func trustDomain(m *meshconfig.MeshConfig) string {
	if m.TrustDomain == "" {
		return domain
	}
	return m.TrustDomain
}
