package compile

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/pkg/xds/endpoints"
)

// maxShared bounds how many clusters, and how many endpoints, a mesh shares
// between proxies.
const maxShared = 20_000

// shared are the clusters and endpoints that several proxies get, by the keys
// of istiod's own caches: it sends the same to all proxies with the same key.
type shared struct {
	// The other kinds are not cached: their keys name the namespace, for which
	// views are compiled once.
	model.DisabledCache
	resources *simplelru.LRU[uint64, *discoveryv3.Resource]
	clusters  *simplelru.LRU[*discoveryv3.Resource, *clusterv3.Cluster]
	endpoints *simplelru.LRU[uint64, *endpointv3.ClusterLoadAssignment]
}

func newShared() *shared {
	return &shared{
		resources: lru[uint64, *discoveryv3.Resource](maxShared, nil),
		clusters:  lru[*discoveryv3.Resource, *clusterv3.Cluster](maxShared, nil),
		endpoints: lru[uint64, *endpointv3.ClusterLoadAssignment](maxShared, nil),
	}
}

// Add and Get are called by istiod's generators.

// Add keeps a cluster.
func (s *shared) Add(entry model.XdsCacheEntry, _ *model.PushRequest, value *discoveryv3.Resource) {
	if key, ok := clusterKey(entry); ok {
		s.resources.Add(key, value)
	}
}

// Get returns a cluster that was kept, or nil.
func (s *shared) Get(entry model.XdsCacheEntry) *discoveryv3.Resource {
	key, ok := clusterKey(entry)
	if !ok {
		return nil
	}
	found, _ := s.resources.Get(key)
	return found
}

func clusterKey(entry model.XdsCacheEntry) (key uint64, ok bool) {
	if entry.Type() != model.CDSType || !entry.Cacheable() {
		return 0, false
	}
	key, ok = entry.Key().(uint64)
	return key, ok
}

// cluster decodes what istiod's generator made.
func (s *shared) cluster(r *discoveryv3.Resource) (*clusterv3.Cluster, error) {
	if found, ok := s.clusters.Get(r); ok {
		return found, nil
	}
	c := &clusterv3.Cluster{}
	if err := r.GetResource().UnmarshalTo(c); err != nil {
		return nil, err
	}
	s.clusters.Add(r, c)
	return c, nil
}

// loads returns the endpoints of a cluster.
func (s *shared) loads(b endpoints.EndpointBuilder, index *model.EndpointIndex) *endpointv3.ClusterLoadAssignment {
	key, ok := uint64(0), b.Cacheable()
	if ok {
		key, ok = b.Key().(uint64)
	}
	if !ok {
		return b.BuildClusterLoadAssignment(index)
	}
	if found, kept := s.endpoints.Get(key); kept {
		return found
	}
	made := b.BuildClusterLoadAssignment(index)
	s.endpoints.Add(key, made)
	return made
}
