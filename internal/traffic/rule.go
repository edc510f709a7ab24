package traffic

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
)

// RuleOfRoute returns what wrote a route; ok is false for routes that istiod
// makes of a Service alone.
func RuleOfRoute(r *routev3.Route) (rule Rule, ok bool) { return Rule{}, false }

// RuleOfPolicy returns what wrote a policy of an RBAC filter, by its name there.
func RuleOfPolicy(name string) (rule Rule, ok bool) { return Rule{}, false }

// RuleOfCluster returns the DestinationRule that shaped a cluster.
func RuleOfCluster(c *clusterv3.Cluster) (rule Rule, ok bool) { return Rule{}, false }
