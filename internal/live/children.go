package live

import (
	"cmp"
	"context"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"mizzen.dev/mizzen"
)

const (
	// maxListed bounds the objects of one kind and namespace that are looked
	// through for children.
	maxListed = 20_000
	// maxDepth bounds the generations below an object of ours.
	maxDepth = 4
)

// Child is an object that another one owns, by metadata.ownerReferences.
type Child struct {
	Ref mizzen.Ref
	UID types.UID
	// Parent is the UID of the owner, which is a Child itself or a parent that
	// was asked for.
	Parent   types.UID
	Created  metav1.Time
	Deleting bool
}

// Parent is an object whose children are wanted.
type Parent struct {
	Ref mizzen.Ref
	UID types.UID
}

// childKinds says which kinds the objects of a kind own. Kinds that are not
// here are taken to own nothing, since looking through all kinds of a cluster
// would cost hundreds of requests.
var childKinds = map[schema.GroupKind][]schema.GroupKind{
	{Group: "apps", Kind: "Deployment"}:     {{Group: "apps", Kind: "ReplicaSet"}},
	{Group: "apps", Kind: "ReplicaSet"}:     {{Kind: "Pod"}},
	{Group: "apps", Kind: "StatefulSet"}:    {{Kind: "Pod"}},
	{Group: "apps", Kind: "DaemonSet"}:      {{Kind: "Pod"}},
	{Kind: "ReplicationController"}:         {{Kind: "Pod"}},
	{Group: "batch", Kind: "CronJob"}:       {{Group: "batch", Kind: "Job"}},
	{Group: "batch", Kind: "Job"}:           {{Kind: "Pod"}},
	{Kind: "Service"}:                       {{Group: "discovery.k8s.io", Kind: "EndpointSlice"}},
	{Group: "argoproj.io", Kind: "Rollout"}: {{Group: "apps", Kind: "ReplicaSet"}},
	{Group: "cert-manager.io", Kind: "Certificate"}: {
		{Group: "cert-manager.io", Kind: "CertificateRequest"}, {Kind: "Secret"},
	},
	{Group: "external-secrets.io", Kind: "ExternalSecret"}: {{Kind: "Secret"}},
	// istiod deploys a Gateway's proxy itself.
	{Group: "gateway.networking.k8s.io", Kind: "Gateway"}: {
		{Group: "apps", Kind: "Deployment"}, {Kind: "Service"}, {Kind: "ServiceAccount"},
	},
}

// Children returns what the parents own, directly or through others, sorted by
// identity. Each kind is listed once per namespace and generation, metadata
// alone. A kind that the cluster does not know, or that may not be listed, has
// no children; any other error ends it.
func (c *Cluster) Children(ctx context.Context, parents []Parent) ([]Child, error) {
	known := make(map[types.UID]bool)
	var all []Child
	for range maxDepth {
		places := make(map[place]map[types.UID]bool)
		for _, p := range parents {
			for _, gk := range childKinds[p.Ref.GroupKind()] {
				at := place{gk.WithVersion(""), p.Ref.Namespace}
				if places[at] == nil {
					places[at] = make(map[types.UID]bool)
				}
				places[at][p.UID] = true
			}
		}
		parents = nil
		for at, owners := range places {
			children, err := c.childrenAt(ctx, at, owners)
			if err != nil {
				return nil, err
			}
			for _, child := range children {
				if !known[child.UID] {
					known[child.UID] = true
					all = append(all, child)
					parents = append(parents, Parent{child.Ref, child.UID})
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b Child) int {
		return cmp.Or(mizzen.CompareRefs(a.Ref, b.Ref), cmp.Compare(a.UID, b.UID))
	})
	return all, nil
}

func (c *Cluster) childrenAt(ctx context.Context, at place, owners map[types.UID]bool) ([]Child, error) {
	r, err := c.Preferred(ctx, at.kind.GroupKind())
	if mizzen.KindOf(err) == mizzen.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var children []Child
	rd := reader[*metav1.PartialObjectMetadata]{page: metadataPage, list: c.listMetadata}
	next := ""
	for range maxListed / metadataPage {
		items, token, err := onePage(ctx, c, r, at.namespace, next, rd)
		if mizzen.KindOf(err) == mizzen.Forbidden {
			return nil, nil
		}
		if err != nil {
			return nil, c.apiError(at.kind.GroupKind().String(), err)
		}
		for _, o := range items {
			if owner, ok := ownedBy(o, owners); ok {
				children = append(children, Child{
					Ref:     mizzen.Ref{Group: r.Kind.Group, Kind: r.Kind.Kind, Namespace: o.Namespace, Name: o.Name},
					UID:     o.UID,
					Parent:  owner,
					Created: o.CreationTimestamp, Deleting: o.DeletionTimestamp != nil,
				})
			}
		}
		if token == "" {
			break
		}
		next = token
	}
	return children, nil
}

// ownedBy prefers the controller among several owners.
func ownedBy(o *metav1.PartialObjectMetadata, owners map[types.UID]bool) (owner types.UID, ok bool) {
	for _, ref := range o.OwnerReferences {
		if owners[ref.UID] && (!ok || ref.Controller != nil && *ref.Controller) {
			owner, ok = ref.UID, true
		}
	}
	return owner, ok
}
