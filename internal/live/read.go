package live

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
)

const (
	// listAtLeast is how many objects of a kind in a namespace must be wanted
	// for a LIST to be cheaper than as many GETs.
	listAtLeast = 12
	// objectPage and metadataPage are the objects per page. An object may be
	// as large as 1.5 MB, so full ones come in small pages.
	objectPage   = 100
	metadataPage = 500
	// pagesBeyond is how many pages a LIST may read before it pays to GET what
	// is still missing; one per this many wanted objects comes on top.
	pagesBeyond   = 4
	wantedPerPage = 50
)

// place is where a LIST can find several targets.
type place struct {
	kind      schema.GroupVersionKind
	namespace string
}

// Objects returns the full objects that exist, by identity. What does not
// exist, or is of a kind that the cluster does not know, is absent from the
// map. Few are read one by one, many of one kind and namespace by a paged
// list. The key is the identity as the cluster has it: an object of a
// cluster-scoped kind has no namespace there. The first error ends it.
func (c *Cluster) Objects(ctx context.Context, targets []Target) (map[mizzen.Ref]*unstructured.Unstructured, error) {
	return read(ctx, c, targets, reader[*unstructured.Unstructured]{
		page: objectPage,
		get: func(ctx context.Context, r Resource, ns, name string) (*unstructured.Unstructured, error) {
			return c.dynamic.Resource(r.GVR()).Namespace(ns).Get(ctx, name, metav1.GetOptions{})
		},
		list: c.listObjects,
	})
}

func (c *Cluster) listObjects(ctx context.Context, r Resource, ns string, o metav1.ListOptions) ([]*unstructured.Unstructured, string, error) {
	list, err := c.dynamic.Resource(r.GVR()).Namespace(ns).List(ctx, o)
	if err != nil {
		return nil, "", err
	}
	items := make([]*unstructured.Unstructured, len(list.Items))
	for i := range list.Items {
		items[i] = &list.Items[i]
	}
	return items, list.GetContinue(), nil
}

// Metadata is as Objects, but reads the metadata alone: enough to know whether
// an object exists and who owns it, for a fraction of the bytes. The kind of a
// result is not filled in; the key of the map says it.
func (c *Cluster) Metadata(ctx context.Context, targets []Target) (map[mizzen.Ref]*metav1.PartialObjectMetadata, error) {
	return read(ctx, c, targets, reader[*metav1.PartialObjectMetadata]{
		page: metadataPage,
		get: func(ctx context.Context, r Resource, ns, name string) (*metav1.PartialObjectMetadata, error) {
			return c.metadata.Resource(r.GVR()).Namespace(ns).Get(ctx, name, metav1.GetOptions{})
		},
		list: c.listMetadata,
	})
}

func (c *Cluster) listMetadata(ctx context.Context, r Resource, ns string, o metav1.ListOptions) ([]*metav1.PartialObjectMetadata, string, error) {
	list, err := c.metadata.Resource(r.GVR()).Namespace(ns).List(ctx, o)
	if err != nil {
		return nil, "", err
	}
	items := make([]*metav1.PartialObjectMetadata, len(list.Items))
	for i := range list.Items {
		items[i] = &list.Items[i]
	}
	return items, list.GetContinue(), nil
}

// reader is one way to read objects: in full, or their metadata.
type reader[T metav1.Object] struct {
	page int64
	get  func(ctx context.Context, r Resource, namespace, name string) (T, error)
	list func(ctx context.Context, r Resource, namespace string, o metav1.ListOptions) (items []T, next string, err error)
}

// found collects results from several goroutines.
type found[T metav1.Object] struct {
	mu  sync.Mutex
	all map[mizzen.Ref]T
}

func (f *found[T]) add(kind schema.GroupVersionKind, o T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[mizzen.Ref{Group: kind.Group, Kind: kind.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}] = o
}

// addMissing adds those items that are missing, which they no longer are.
func (f *found[T]) addMissing(kind schema.GroupVersionKind, items []T, missing map[string]bool) {
	for _, o := range items {
		if missing[o.GetName()] {
			delete(missing, o.GetName())
			f.add(kind, o)
		}
	}
}

func read[T metav1.Object](ctx context.Context, c *Cluster, targets []Target, rd reader[T]) (map[mizzen.Ref]T, error) {
	out := &found[T]{all: make(map[mizzen.Ref]T, len(targets))}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxInFlight)
	for p, names := range byPlace(targets) {
		r, err := c.Resource(ctx, p.kind)
		if mizzen.KindOf(err) == mizzen.NotFound {
			continue
		}
		if err != nil {
			group.Go(func() error { return err })
			break
		}
		switch {
		case !r.Namespaced:
			p.namespace = ""
		case p.namespace == "":
			// A LIST would find the name in any namespace.
			continue
		}
		if len(names) >= listAtLeast && r.Can("list") {
			group.Go(func() error { return readList(ctx, c, r, p.namespace, names, rd, out) })
			continue
		}
		for _, name := range names {
			group.Go(func() error { return readOne(ctx, c, r, p.namespace, name, rd, out) })
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return out.all, nil
}

// byPlace groups targets by kind and namespace, each name once, sorted.
func byPlace(targets []Target) map[place][]string {
	places := make(map[place][]string)
	for _, t := range targets {
		p := place{t.Kind, t.Namespace}
		places[p] = append(places[p], t.Name)
	}
	for p, names := range places {
		slices.Sort(names)
		places[p] = slices.Compact(names)
	}
	return places
}

func readOne[T metav1.Object](ctx context.Context, c *Cluster, r Resource, namespace, name string, rd reader[T], out *found[T]) error {
	release, err := c.acquire(ctx)
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := bounded(ctx)
	defer cancel()
	o, err := rd.get(ctx, r, namespace, name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		about := mizzen.Ref{Group: r.Kind.Group, Kind: r.Kind.Kind, Namespace: namespace, Name: name}
		return c.apiError(about.String(), err)
	}
	out.add(r.Kind, o)
	return nil
}

// readList pages through a namespace until every wanted object was seen. What
// is then still missing, because the namespace holds far more than is wanted
// or may not be listed, is read one by one.
func readList[T metav1.Object](ctx context.Context, c *Cluster, r Resource, namespace string, names []string, rd reader[T], out *found[T]) error {
	missing := make(map[string]bool, len(names))
	for _, n := range names {
		missing[n] = true
	}
	next := ""
	for range pagesBeyond + len(names)/wantedPerPage {
		items, token, err := onePage(ctx, c, r, namespace, next, rd)
		if isGone(err) || mizzen.KindOf(err) == mizzen.Forbidden {
			// The list outlived the server's history, or a role names the
			// objects that it lets read.
			break
		}
		if err != nil {
			return err
		}
		out.addMissing(r.Kind, items, missing)
		if token == "" {
			return nil
		}
		if next = token; len(missing) == 0 {
			break
		}
	}
	for name := range missing {
		if err := readOne(ctx, c, r, namespace, name, rd, out); err != nil {
			return err
		}
	}
	return nil
}

func onePage[T metav1.Object](ctx context.Context, c *Cluster, r Resource, namespace, next string, rd reader[T]) ([]T, string, error) {
	release, err := c.acquire(ctx)
	if err != nil {
		return nil, "", err
	}
	defer release()
	ctx, cancel := bounded(ctx)
	defer cancel()
	items, token, err := rd.list(ctx, r, namespace, metav1.ListOptions{Limit: rd.page, Continue: next})
	if err != nil && !isGone(err) {
		about := r.Kind.GroupKind().String()
		if namespace != "" {
			about += " in the namespace " + namespace
		}
		err = c.apiError(about, err)
	}
	return items, token, err
}
