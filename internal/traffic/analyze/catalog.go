package analyze

import (
	"context"
	"slices"

	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/analysis"
	"istio.io/istio/pkg/config/analysis/diag"
	"istio.io/istio/pkg/config/resource"
	"istio.io/istio/pkg/config/schema/gvk"

	"mizzen.dev/mizzen"
)

// catalog is what the analyzers see: all objects by kind, in a fixed order. It
// stands in for the stores of a control plane, which would need goroutines and
// a trip through YAML, and would lose which object a message is about.
type catalog struct {
	ctx     context.Context
	known   Known
	options Options
	byKind  map[config.GroupVersionKind]*collection
	// facts is what the rules ask.
	facts *facts

	// The state of one run of one analyzer.
	messages []diag.Message
	// looking are the objects whose callbacks are under way, outermost first.
	looking []*instance
	// hidden are left out, since the analyzer failed about them.
	hidden map[*instance]bool
	// neighbors is the kind of which an object under way sees only those of
	// its own namespace.
	neighbors config.GroupVersionKind
}

// neighbors are the kinds of which an analyzer visits all objects for every
// object that it looks at, only to leave out those of other namespaces: for a
// thousand workloads that takes longer than all else.
var neighbors = map[string]config.GroupVersionKind{
	"deployment.MultiServiceAnalyzer": gvk.Service,
}

// collection holds the objects of one kind.
type collection struct {
	list   []*instance
	byName map[resource.FullName]*instance
	// byNamespace is made when it is first asked for.
	byNamespace map[resource.Namespace][]*instance
}

// within returns the objects of a namespace, in the order of the list.
func (in *collection) within(namespace resource.Namespace) []*instance {
	if in.byNamespace == nil {
		in.byNamespace = map[resource.Namespace][]*instance{}
		for _, i := range in.list {
			of := i.Metadata.FullName.Namespace
			in.byNamespace[of] = append(in.byNamespace[of], i)
		}
	}
	return in.byNamespace[namespace]
}

// instance is one object as the analyzers see it.
type instance struct {
	*resource.Instance
	object mizzen.Object
	// judged tells whether messages about it are of interest.
	judged bool
	// template is where the fields of a pod come from that was made of a
	// workload.
	template mizzen.Path
	// values are the fields of values that stand in one place only.
	values map[string]mizzen.Path
	// blamed are the fields that were found to be at fault, by message.
	blamed map[string]mizzen.Path
	// trials is how often the object may still be validated to find a field
	// that is at fault.
	trials int
}

var _ analysis.Context = (*catalog)(nil)

// add puts an object in its place, unless one of that name is there.
func (c *catalog) add(i *instance) {
	kind := i.Metadata.Schema.GroupVersionKind()
	in := c.byKind[kind]
	if in == nil {
		in = &collection{byName: map[resource.FullName]*instance{}}
		c.byKind[kind] = in
	}
	if in.byName[i.Metadata.FullName] != nil {
		return
	}
	in.byName[i.Metadata.FullName] = i
	in.list = append(in.list, i)
}

// has tells whether an object of that kind and name is there.
func (c *catalog) has(kind config.GroupVersionKind, namespace, name string) bool {
	in := c.byKind[kind]
	return in != nil && in.byName[resource.NewFullName(resource.Namespace(namespace), resource.LocalName(name))] != nil
}

// all returns the objects of a kind.
func (c *catalog) all(kind config.GroupVersionKind) []*instance {
	if in := c.byKind[kind]; in != nil {
		return in.list
	}
	return nil
}

// Report is part of analysis.Context.
func (c *catalog) Report(_ config.GroupVersionKind, m diag.Message) {
	c.messages = append(c.messages, m)
}

// SetAnalyzer is part of analysis.Context.
func (c *catalog) SetAnalyzer(string) {}

// Canceled is part of analysis.Context.
func (c *catalog) Canceled() bool { return c.ctx.Err() != nil }

// Find is part of analysis.Context.
func (c *catalog) Find(kind config.GroupVersionKind, name resource.FullName) *resource.Instance {
	in := c.byKind[kind]
	if in == nil {
		return nil
	}
	if i := in.byName[name]; i != nil && !c.hidden[i] {
		return i.Instance
	}
	return nil
}

// Exists is part of analysis.Context.
func (c *catalog) Exists(kind config.GroupVersionKind, name resource.FullName) bool {
	return c.Find(kind, name) != nil
}

// ForEach is part of analysis.Context. It ends early with the context, so that
// loops over loops do too.
func (c *catalog) ForEach(kind config.GroupVersionKind, visit analysis.IteratorFn) {
	for _, i := range c.visible(kind) {
		if c.hidden[i] {
			continue
		}
		if c.Canceled() {
			return
		}
		c.looking = append(c.looking, i)
		goOn := visit(i.Instance)
		c.looking = c.looking[:len(c.looking)-1]
		if !goOn {
			return
		}
	}
}

// visible returns the objects of a kind that the analyzer is to visit now.
func (c *catalog) visible(kind config.GroupVersionKind) []*instance {
	in, from := c.byKind[kind], c.lookingAt()
	if in == nil || from == nil || kind != c.neighbors {
		return c.all(kind)
	}
	return in.within(from.Metadata.FullName.Namespace)
}

// lookingAt returns the innermost object under way, or nil. After a panic it
// is what the analyzer failed about.
func (c *catalog) lookingAt() *instance {
	if len(c.looking) == 0 {
		return nil
	}
	return c.looking[len(c.looking)-1]
}

// sort gives every collection a fixed order.
func (c *catalog) sort() {
	for _, in := range c.byKind {
		slices.SortStableFunc(in.list, func(a, b *instance) int {
			return mizzen.CompareRefs(a.object.Ref(), b.object.Ref())
		})
	}
}
