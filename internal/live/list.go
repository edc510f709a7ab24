package live

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
)

// Query asks for objects by their kind.
type Query struct {
	Group string
	// Kind is one kind of the group; empty means all that can be listed.
	Kind string
	// Namespace and Name are those of the objects; empty means any.
	Namespace, Name string
}

// maxFound bounds the objects that one List returns.
const maxFound = 200_000

// List returns the objects that queries ask for, as far as keep wants them, in
// the version that the server prefers, sorted by identity. A kind that the
// cluster does not know has none. They are read page by page, so that what keep
// leaves out is not held. The first error ends it, but for what may not be read:
// one error of Kind Forbidden names all of that. It is of Kind TooLarge if there
// are more than 200,000.
func (c *Cluster) List(ctx context.Context, queries []Query, keep func(*unstructured.Unstructured) bool) ([]*unstructured.Unstructured, error) {
	wanted, err := c.wanted(ctx, queries)
	if err != nil {
		return nil, err
	}
	results := make([][]*unstructured.Unstructured, len(wanted))
	forbidden := make([]error, len(wanted))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(maxInFlight)
	for i, w := range wanted {
		group.Go(func() (err error) {
			results[i], err = c.listOne(ctx, w, keep)
			if mizzen.KindOf(err) == mizzen.Forbidden {
				forbidden[i] = err
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	if err := allForbidden(wanted, forbidden); err != nil {
		return nil, err
	}
	all := slices.Concat(results...)
	if len(all) > maxFound {
		return nil, tooMany("the cluster")
	}
	slices.SortFunc(all, func(a, b *unstructured.Unstructured) int {
		return mizzen.CompareRefs(mizzen.Object{Unstructured: a}.Ref(), mizzen.Object{Unstructured: b}.Ref())
	})
	return all, nil
}

// maxNamed is how many kinds an error names beside the first: more than those
// that matter to a mesh.
const maxNamed = 50

// allForbidden is the first of the errors, whose remedy names the kinds of all;
// nil if there is none.
func allForbidden(wanted []listed, errs []error) error {
	var first error
	var others []string
	for i, err := range errs {
		switch {
		case err == nil:
		case first == nil:
			first = err
		default:
			others = append(others, wanted[i].String())
		}
	}
	known := new(mizzen.Error)
	others = slices.Compact(others)
	if len(others) == 0 || !apierrors.IsForbidden(first) || !errors.As(first, &known) {
		return first
	}
	if more := len(others) - maxNamed; more > 0 {
		others = append(others[:maxNamed], fmt.Sprintf("%d more", more))
	}
	all := *known
	all.Remedy += ", and the same for " + strings.Join(others, ", ")
	return &all
}

func tooMany(what string) error {
	return &mizzen.Error{Kind: mizzen.TooLarge, Object: what, Err: fmt.Errorf("it has more than %d objects", maxFound), Remedy: "look at a smaller cluster"}
}

// listed is a Query with the resource that answers it.
type listed struct {
	Query
	resource Resource
}

// String says what has to be granted, and no more than that.
func (w listed) String() string {
	kind := w.resource.Kind.GroupKind().String()
	if w.Namespace != "" {
		return kind + " in the namespace " + w.Namespace
	}
	return kind
}

// wanted finds the resources of queries, each once for a Query.
func (c *Cluster) wanted(ctx context.Context, queries []Query) ([]listed, error) {
	var out []listed
	for _, q := range queries {
		resources, err := c.served(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range resources {
			out = append(out, listed{q, r})
		}
	}
	return out, nil
}

// served returns the kinds that a Query asks for, in the preferred version,
// sorted; none if the cluster does not know them.
func (c *Cluster) served(ctx context.Context, q Query) ([]Resource, error) {
	if q.Kind != "" {
		r, err := c.Preferred(ctx, schema.GroupKind{Group: q.Group, Kind: q.Kind})
		if mizzen.KindOf(err) == mizzen.NotFound {
			return nil, nil
		}
		return []Resource{r}, err
	}
	if err := c.known(ctx, q.Group); err != nil {
		return nil, err
	}
	var out []Resource
	for _, kind := range c.kindsOf(q.Group) {
		r, err := c.Preferred(ctx, schema.GroupKind{Group: q.Group, Kind: kind})
		if err != nil {
			return nil, err
		}
		if r.Can("list") {
			out = append(out, r)
		}
	}
	return out, nil
}

// known makes sure that discovery has answered, since a group was last seen to
// change.
func (c *Cluster) known(ctx context.Context, group string) error {
	c.kinds.mu.Lock()
	_, dirty := c.kinds.dirty[group]
	current := c.kinds.loaded && !dirty
	c.kinds.mu.Unlock()
	if current {
		return nil
	}
	return c.refresh(ctx)
}

// kindsOf are the kinds of a group, sorted.
func (c *Cluster) kindsOf(group string) []string {
	c.kinds.mu.Lock()
	defer c.kinds.mu.Unlock()
	var kinds []string
	for gvk := range c.kinds.kinds {
		if gvk.Group == group {
			kinds = append(kinds, gvk.Kind)
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// listOne reads all pages of one kind.
func (c *Cluster) listOne(ctx context.Context, w listed, keep func(*unstructured.Unstructured) bool) (kept []*unstructured.Unstructured, err error) {
	rd := reader[*unstructured.Unstructured]{page: objectPage, list: func(ctx context.Context, r Resource, ns string, o metav1.ListOptions) ([]*unstructured.Unstructured, string, error) {
		if w.Name != "" {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", w.Name).String()
		}
		return c.listObjects(ctx, r, ns, o)
	}}
	for next := ""; ; {
		items, token, err := onePage(ctx, c, w.resource, w.Namespace, next, rd)
		if err != nil {
			return nil, c.apiError(w.resource.Kind.GroupKind().String(), err)
		}
		for _, o := range items {
			if keep(o) {
				kept = append(kept, o)
			}
		}
		if len(kept) > maxFound {
			return nil, tooMany(cmp.Or(w.Kind, w.Group))
		}
		if token == "" {
			return kept, nil
		}
		next = token
	}
}
