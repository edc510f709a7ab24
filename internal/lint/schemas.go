package lint

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/lint/archive"
	objectschema "mizzen.dev/mizzen/internal/lint/schema"
	"mizzen.dev/mizzen/internal/lint/schemas"
)

// Schemas finds the schemas of kinds. It may be used by many goroutines.
type Schemas interface {
	// Lookup returns the schema of a kind, or nil if the kind is not known.
	Lookup(ctx context.Context, gvk schema.GroupVersionKind) (*objectschema.Schema, error)
	// Unknown is how severe it is that a kind is not known.
	Unknown() mizzen.Severity
	// Similar returns the kind that gvk was most likely meant to be, if any.
	// complete tells that all kinds of gvk's group-version are known, so that
	// gvk does not exist.
	Similar(gvk schema.GroupVersionKind) (like schema.GroupVersionKind, complete bool)
}

// Offline returns the schemas that are built in: Kubernetes, Istio, the
// Gateway API and Mizzen itself. A kind beyond them is worth an Info.
func Offline() Schemas { return offline }

var offline = &builtIn{}

// Scope tells whether a kind that is built in lives in a namespace.
func Scope(gvk schema.GroupVersionKind) (namespaced, known bool) {
	archives, err := schemas.Archives()
	if err != nil {
		return false, false
	}
	for _, a := range archives {
		if k, ok := a.Find(gvk); ok {
			return k.Namespaced, true
		}
	}
	return false, false
}

type builtIn struct{ cache cache }

func (b *builtIn) Lookup(_ context.Context, gvk schema.GroupVersionKind) (*objectschema.Schema, error) {
	archives, err := schemas.Archives()
	if err != nil {
		return nil, err
	}
	return b.cache.lookup(gvk, func() (*objectschema.Schema, error) {
		for _, a := range archives {
			if k, ok := a.Find(gvk); ok {
				return compile(a, k)
			}
		}
		return nil, nil //nolint:nilnil // an unknown kind is no error
	})
}

func (b *builtIn) Unknown() mizzen.Severity { return mizzen.Info }

func (b *builtIn) Similar(gvk schema.GroupVersionKind) (like schema.GroupVersionKind, complete bool) {
	archives, err := schemas.Archives()
	if err != nil {
		return like, false
	}
	var kinds []archive.Kind
	for _, a := range archives {
		kinds = append(kinds, a.Kinds()...)
	}
	return similar(gvk, kinds)
}

// similar looks for the same kind in another version, then for another kind of
// the same group in spite of its case or a missing or added "s".
func similar(gvk schema.GroupVersionKind, kinds []archive.Kind) (like schema.GroupVersionKind, complete bool) {
	slices.SortFunc(kinds, func(a, b archive.Kind) int {
		return strings.Compare(a.GroupVersionKind().String(), b.GroupVersionKind().String())
	})
	byName := map[string]schema.GroupVersionKind{}
	for _, k := range kinds {
		if k.Group != gvk.Group {
			continue
		}
		complete = complete || k.Version == gvk.Version
		if k.Kind == gvk.Kind {
			like = k.GroupVersionKind()
		}
		byName[k.Kind] = k.GroupVersionKind()
	}
	if like.Kind == "" {
		like = byName[objectschema.Closest(gvk.Kind, byName)]
	}
	return like, complete
}

// Document returns the OpenAPI v3 document of a group-version as bytes of
// JSON. A group-version that the cluster does not serve is an error of Kind
// NotFound.
type Document func(ctx context.Context, gv schema.GroupVersion) ([]byte, error)

// Cluster is the schemas of a live cluster. A group-version is fetched when
// the first of its kinds is looked up, and kept in a compact form.
type Cluster struct {
	fetch Document

	mu   sync.Mutex
	docs map[schema.GroupVersion]*document
}

type document struct {
	once    sync.Mutex
	archive *archive.Archive
	cache   cache
}

// FromCluster returns the schemas that a cluster publishes.
func FromCluster(fetch Document) *Cluster {
	return &Cluster{fetch: fetch, docs: map[schema.GroupVersion]*document{}}
}

// Lookup implements Schemas.
func (c *Cluster) Lookup(ctx context.Context, gvk schema.GroupVersionKind) (*objectschema.Schema, error) {
	d, err := c.document(ctx, gvk.GroupVersion())
	if err != nil {
		return nil, err
	}
	return d.cache.lookup(gvk, func() (*objectschema.Schema, error) {
		k, ok := d.archive.Find(gvk)
		if !ok {
			return nil, nil //nolint:nilnil // an unknown kind is no error
		}
		return compile(d.archive, k)
	})
}

// Unknown implements Schemas: the cluster would refuse the object.
func (c *Cluster) Unknown() mizzen.Severity { return mizzen.Warning }

// Similar implements Schemas. It looks at what has been fetched, and at the
// kinds that are built in.
func (c *Cluster) Similar(gvk schema.GroupVersionKind) (like schema.GroupVersionKind, complete bool) {
	c.mu.Lock()
	d := c.docs[gvk.GroupVersion()]
	c.mu.Unlock()
	if d != nil {
		d.once.Lock()
		a := d.archive
		d.once.Unlock()
		if a != nil {
			if like, complete = similar(gvk, a.Kinds()); like.Kind != "" {
				return like, complete
			}
		}
	}
	return offline.Similar(gvk)
}

// Forget drops what is known of a group, because a definition of it changed.
func (c *Cluster) Forget(group string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for gv := range c.docs {
		if gv.Group == group {
			delete(c.docs, gv)
		}
	}
}

// document fetches a group-version once, even if many ask for it at a time.
// One that does not exist is not remembered: it may appear at any time.
func (c *Cluster) document(ctx context.Context, gv schema.GroupVersion) (*document, error) {
	c.mu.Lock()
	d := c.docs[gv]
	if d == nil {
		d = &document{}
		c.docs[gv] = d
	}
	c.mu.Unlock()
	d.once.Lock()
	defer d.once.Unlock()
	if d.archive != nil {
		return d, nil
	}
	b, err := c.fetch(ctx, gv)
	if mizzen.KindOf(err) == mizzen.NotFound {
		return &document{archive: &archive.Archive{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the schemas of %s: %w", gv, err)
	}
	if d.archive, err = archive.FromOpenAPI(b); err != nil {
		return nil, fmt.Errorf("read the schemas of %s: %w", gv, err)
	}
	return d, nil
}

// cache keeps compiled schemas, and that a kind is not known.
type cache struct {
	mu      sync.Mutex
	schemas map[schema.GroupVersionKind]*objectschema.Schema
}

func (c *cache) lookup(gvk schema.GroupVersionKind, load func() (*objectschema.Schema, error)) (*objectschema.Schema, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.schemas[gvk]; ok {
		return s, nil
	}
	s, err := load()
	if err != nil || s == nil {
		// Not remembered: names of kinds are untrusted, and there are many.
		return nil, err
	}
	if c.schemas == nil {
		c.schemas = map[schema.GroupVersionKind]*objectschema.Schema{}
	}
	c.schemas[gvk] = s
	return s, nil
}

func compile(a *archive.Archive, k archive.Kind) (*objectschema.Schema, error) {
	definitions, err := a.Definitions(k.Definition)
	if err != nil {
		return nil, err
	}
	return compileFrom(definitions, k)
}

func compileFrom(definitions archive.Definitions, k archive.Kind) (*objectschema.Schema, error) {
	meta, err := metadata()
	if err != nil {
		return nil, err
	}
	return objectschema.Compile(k, definitions, meta)
}

// metadata is the schema of ObjectMeta, which all kinds share.
var metadata = sync.OnceValues(func() (*objectschema.Metadata, error) {
	archives, err := schemas.Archives()
	if err != nil {
		return nil, err
	}
	defs, err := archives[0].Definitions(objectschema.MetadataDefinition)
	if err != nil {
		return nil, err
	}
	return objectschema.CompileMetadata(defs)
})
