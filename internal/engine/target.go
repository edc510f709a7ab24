package engine

import (
	"encoding/json"
	"path"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/render"
)

// TargetOf says what to plan for an Application. The Snapshot may be nil if
// nothing is going to be rendered.
func TargetOf(app *v1alpha1.Application, s mizzen.Snapshot, d Destination) Target {
	name := mizzen.Name{Namespace: app.Namespace, Name: app.Name}
	t := Target{
		Name: name, Snapshot: s, Destination: d, RenderKey: app.Status.RenderKey,
		Options: RenderOptions(app),
		Policy: Policy{
			Namespace:       namespaceOf(app),
			CreateNamespace: app.Spec.Destination.CreateNamespace,
			Prune:           app.Spec.Sync.Prune == nil || *app.Spec.Sync.Prune,
			AllowEmpty:      app.Spec.Sync.AllowEmpty,
			DryRunCreates:   app.Spec.Sync.DryRunCreates,
			Timeout:         app.Spec.Sync.Timeout.Duration,
		},
	}
	for _, kind := range app.Spec.Sync.Exclusive {
		t.Policy.Exclusive = append(t.Policy.Exclusive, live.ParseGroupKind(kind))
	}
	return t
}

func namespaceOf(app *v1alpha1.Application) string {
	if ns := app.Spec.Destination.Namespace; ns != "" {
		return ns
	}
	return app.Namespace
}

// RenderOptions says how an Application is rendered, but for the capabilities
// of its destination.
func RenderOptions(app *v1alpha1.Application) render.Options {
	s := app.Spec.Source
	o := render.Options{
		Path: cleanPath(s.Path), Renderer: render.Renderer(s.Renderer), Namespace: namespaceOf(app),
		ReleaseName: app.Name, IsUpgrade: app.Status.Revision != "",
		Scope: app.Namespace + "/" + app.Name,
	}
	if h := s.Helm; h != nil {
		if h.ReleaseName != "" {
			o.ReleaseName = h.ReleaseName
		}
		o.ValuesFiles, o.SkipCRDs = h.ValuesFiles, h.SkipCRDs
		if h.Values != nil {
			// The API server has parsed it; what is not a mapping is refused
			// by the schema.
			_ = json.Unmarshal(h.Values.Raw, &o.Values)
		}
	}
	if k := s.Kustomize; k != nil {
		o.Images, o.NamePrefix = k.Images, k.NamePrefix
	}
	return o
}

// cleanPath turns what users write, ./a/b/ or nothing at all, into the form of
// fs.ValidPath. A path that leaves the repository is left as it is, for the
// renderer to refuse.
func cleanPath(p string) string {
	if p = path.Clean(strings.TrimSuffix(p, "/")); p == "" {
		return "."
	}
	return p
}
