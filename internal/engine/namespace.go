package engine

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/live"
)

var namespaceKind = schema.GroupVersionKind{Version: "v1", Kind: "Namespace"}

// namespace plans the namespaces that have to be created: the destination's if
// the Application asks for it, and those of objects that ask for theirs. Such a
// namespace is nobody's: it is never pruned.
func (p *Planned) namespace(ctx context.Context) ([]mizzen.Change, error) {
	var missing []live.Target
	for _, name := range p.wantedNamespaces() {
		ref := mizzen.Ref{Kind: "Namespace", Name: name}
		if _, rendered := p.objects[ref]; !rendered && name != "" {
			missing = append(missing, live.Target{Kind: namespaceKind, Name: name})
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	existing, err := p.target.Destination.Cluster.Metadata(ctx, missing)
	if err != nil {
		return nil, err
	}
	var changes []mizzen.Change
	for _, t := range missing {
		if _, exists := existing[t.Ref()]; exists {
			continue
		}
		changes = append(changes, mizzen.Change{
			Ref: t.Ref(), APIVersion: "v1", Action: mizzen.Create, Content: "namespace", Wave: p.firstWave(),
			Reason: "the Application creates its namespace; it is never pruned",
			Desired: &mizzen.Object{Unstructured: &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": t.Name},
			}}},
		})
	}
	return changes, nil
}

// firstWave is the lowest wave of the objects: what they live in comes first.
func (p *Planned) firstWave() int {
	first, any := 0, false
	for _, o := range p.objects {
		if options, _ := mizzen.OptionsOf(o.Unstructured); !any || options.Wave < first {
			first, any = options.Wave, true
		}
	}
	return first
}

// wantedNamespaces returns the namespaces to be created if they do not exist.
// An Application that is wholly synced already has its own.
func (p *Planned) wantedNamespaces() []string {
	var names []string
	if p.target.Policy.CreateNamespace && len(p.kept) < len(p.objects) {
		names = append(names, p.target.Policy.Namespace)
	}
	for ref, o := range p.objects {
		if _, kept := p.kept[ref]; kept {
			continue
		}
		if options, _ := mizzen.OptionsOf(o.Unstructured); options.CreateNamespace {
			names = append(names, o.GetNamespace())
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
