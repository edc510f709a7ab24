package live

import (
	"context"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/client-go/discovery"
)

const (
	// missInterval is how long a kind that was not found is believed to be
	// absent, so that a thousand Applications that wait for a CRD do not ask a
	// thousand times.
	missInterval = 10 * time.Second
	// freshInterval takes its place right after Invalidate: the server serves
	// a new CRD only some moments after it was applied.
	freshInterval = 100 * time.Millisecond
)

// kindCache is what discovery said. The whole answer costs two requests, and
// the server has it ready, so it is always replaced as a whole.
type kindCache struct {
	mu     sync.Mutex
	loaded bool
	kinds  map[schema.GroupVersionKind]Resource
	failed map[schema.GroupVersion]error
	// order ranks the versions of a group as the server prefers them.
	order   map[schema.GroupVersion]int
	version string
	apis    []string

	// dirty groups were invalidated after the last answer was asked for.
	dirty map[string]time.Time
	// invalidated is when a group last was, for freshInterval.
	invalidated map[string]time.Time
	// missed is when a miss in the group last led to a request.
	missed map[string]time.Time
}

// Resource returns how the cluster serves a kind. The answer is cached until
// Invalidate; a kind that is unknown is asked for again at most every 10
// seconds per group. The error is of Kind NotFound if the cluster does not
// know the kind.
func (c *Cluster) Resource(ctx context.Context, gvk schema.GroupVersionKind) (Resource, error) {
	return c.find(ctx, gvk.Group, gvk.String(), func(k *kindCache) (Resource, bool, error) {
		r, ok := k.kinds[gvk]
		return r, ok, k.failed[gvk.GroupVersion()]
	})
}

// Preferred returns how the cluster serves a kind in the version that the
// server prefers. Errors are as those of Resource.
func (c *Cluster) Preferred(ctx context.Context, gk schema.GroupKind) (Resource, error) {
	return c.find(ctx, gk.Group, gk.String(), func(k *kindCache) (best Resource, ok bool, failed error) {
		for gv, err := range k.failed {
			if gv.Group == gk.Group {
				failed = err
			}
		}
		for gvk, r := range k.kinds {
			if gvk.GroupKind() == gk && (!ok || k.order[gvk.GroupVersion()] < k.order[best.Kind.GroupVersion()]) {
				best, ok = r, true
			}
		}
		return best, ok, failed
	})
}

func (c *Cluster) find(ctx context.Context, group, name string, lookup lookup) (Resource, error) {
	r, current, err := c.look(group, name, lookup)
	if (err != nil || !current) && c.mayRefresh(group) {
		if err := c.refresh(ctx); err != nil {
			return Resource{}, err
		}
		r, _, err = c.look(group, name, lookup)
	}
	return r, err
}

// look returns what is cached, and whether that is current.
func (c *Cluster) look(group, name string, lookup lookup) (r Resource, current bool, err error) {
	k := &c.kinds
	k.mu.Lock()
	defer k.mu.Unlock()
	_, dirty := k.dirty[group]
	current = k.loaded && !dirty
	r, ok, failed := lookup(k)
	switch {
	case ok:
		return r, current, nil
	case failed != nil:
		// The group is served by an extension API server that is down. That it
		// has no such kind is not known.
		return r, current, c.apiError(name, failed)
	}
	return r, current, unknownKind(name)
}

// lookup finds a resource in the cache; failed is why its group could not be
// asked.
type lookup func(*kindCache) (r Resource, ok bool, failed error)

// mayRefresh tells whether a miss in the group is worth a request now.
func (c *Cluster) mayRefresh(group string) bool {
	k := &c.kinds
	k.mu.Lock()
	defer k.mu.Unlock()
	now := c.clock.Now()
	interval := missInterval
	if at, ok := k.invalidated[group]; ok && now.Sub(at) < missInterval {
		interval = freshInterval
	}
	_, dirty := k.dirty[group]
	if last, ok := k.missed[group]; ok && k.loaded && !dirty && now.Sub(last) < interval {
		return false
	}
	if k.missed == nil {
		k.missed = make(map[string]time.Time)
	}
	k.missed[group] = now
	return true
}

// Invalidate forgets what is known of the groups, because a CRD of theirs was
// applied, seen or deleted; without any group it forgets everything. The next
// call that needs them asks the server.
func (c *Cluster) Invalidate(groups ...string) {
	k := &c.kinds
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(groups) == 0 {
		k.loaded, k.missed = false, nil
		c.schemas.forget()
		return
	}
	if k.dirty == nil {
		k.dirty = make(map[string]time.Time)
		k.invalidated = make(map[string]time.Time)
	}
	now := c.clock.Now()
	for _, g := range groups {
		k.dirty[g], k.invalidated[g] = now, now
	}
	c.schemas.forget()
}

// Capabilities returns what a chart may ask about the cluster: its version,
// such as v1.36.3, and its API versions, as "group/version" and
// "group/version/Kind", sorted. The caller must not change the slice. It is
// cached like Resource and costs nothing while no group is invalidated.
func (c *Cluster) Capabilities(ctx context.Context) (kubeVersion string, apiVersions []string, err error) {
	read := func() (string, []string, bool) {
		c.kinds.mu.Lock()
		defer c.kinds.mu.Unlock()
		return c.kinds.version, c.kinds.apis, c.kinds.loaded && len(c.kinds.dirty) == 0
	}
	v, apis, current := read()
	if current {
		return v, apis, nil
	}
	if err := c.refresh(ctx); err != nil {
		return "", nil, err
	}
	v, apis, _ = read()
	return v, apis, nil
}

// refresh asks the server for everything. Callers that come at the same time
// share one answer; each gives up with its own context.
func (c *Cluster) refresh(ctx context.Context) error {
	ch := c.once.DoChan("discovery", func() (any, error) { return nil, c.discover() })
	select {
	case res := <-ch:
		return c.apiError("", res.Err)
	case <-ctx.Done():
		return c.apiError("", ctx.Err())
	}
}

func (c *Cluster) discover() error {
	began := c.clock.Now()
	server, err := c.discovery.ServerVersion()
	if err != nil {
		return err
	}
	groups, lists, err := c.discovery.ServerGroupsAndResources()
	failed, partial := discovery.GroupDiscoveryFailedErrorGroups(err)
	if err != nil && !partial {
		return err
	}
	c.kinds.replace(began, server, groups, lists, failed)
	return nil
}

func (k *kindCache) replace(began time.Time, server *version.Info, groups []*metav1.APIGroup, lists []*metav1.APIResourceList, failed map[schema.GroupVersion]error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.loaded, k.version, k.failed = true, server.GitVersion, failed
	k.kinds = make(map[schema.GroupVersionKind]Resource)
	k.order = make(map[schema.GroupVersion]int)
	var apis []string
	for _, g := range groups {
		for i, v := range g.Versions {
			gv := schema.GroupVersion{Group: g.Name, Version: v.Version}
			k.order[gv] = i + 1
			if v.Version == g.PreferredVersion.Version {
				k.order[gv] = 0
			}
			apis = append(apis, gv.String())
		}
	}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			continue
		}
		for i := range list.APIResources {
			if r, ok := resourceOf(gv, &list.APIResources[i]); ok {
				k.kinds[r.Kind] = r
				apis = append(apis, gv.String()+"/"+r.Kind.Kind)
			}
		}
	}
	slices.Sort(apis)
	k.apis = slices.Compact(apis)
	// What was invalidated while the answer was under way stays dirty.
	for g, at := range k.dirty {
		if !at.After(began) {
			delete(k.dirty, g)
		}
	}
}

// resourceOf leaves out subresources, and kinds that cannot be read.
func resourceOf(gv schema.GroupVersion, r *metav1.APIResource) (Resource, bool) {
	if r.Kind == "" || !slices.Contains(r.Verbs, "get") || slices.Contains([]byte(r.Name), '/') {
		return Resource{}, false
	}
	if r.Group != "" || r.Version != "" {
		// The resource is served under another group's URL (scale, eviction);
		// real ones say nothing, or their own.
		if r.Group != "" && r.Group != gv.Group || r.Version != "" && r.Version != gv.Version {
			return Resource{}, false
		}
	}
	verbs := slices.Clone([]string(r.Verbs))
	slices.Sort(verbs)
	return Resource{Kind: gv.WithKind(r.Kind), Name: r.Name, Namespaced: r.Namespaced, Verbs: verbs}, true
}

// serves tells whether the server serves a resource in any version.
func (c *Cluster) serves(ctx context.Context, gr schema.GroupResource) (bool, error) {
	if _, _, err := c.Capabilities(ctx); err != nil {
		return false, err
	}
	c.kinds.mu.Lock()
	defer c.kinds.mu.Unlock()
	for gvk, r := range c.kinds.kinds {
		if gvk.Group == gr.Group && r.Name == gr.Resource {
			return true, nil
		}
	}
	return false, nil
}
