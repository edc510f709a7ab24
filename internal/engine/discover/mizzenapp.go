package discover

import (
	"encoding/json"
	"fmt"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
)

// readMizzen reads an Application of Mizzen.
func (c *Catalog) readMizzen(a *Application, m Manifest) error {
	b, err := json.Marshal(m.Object)
	if err != nil {
		return err
	}
	var app v1alpha1.Application
	if err := json.Unmarshal(b, &app); err != nil {
		return fmt.Errorf("its spec cannot be read: %w", err)
	}
	repository := c.sources[mizzen.Ref{
		Group: mizzen.Group, Kind: "Repository", Namespace: app.Namespace, Name: app.Spec.Source.Repository,
	}]
	revision := app.Spec.Source.Revision
	if revision == "" {
		revision = repository.revision
	}
	if err := c.here(repository.url, revision, app.Spec.Source.Path); err != nil {
		return err
	}
	app.Status = v1alpha1.ApplicationStatus{}
	a.describe(&app)
	return nil
}

// describe takes over what a spec says.
func (a *Application) describe(app *v1alpha1.Application) {
	t := engine.TargetOf(app, nil, engine.Destination{})
	t.Options.IsUpgrade = true
	a.Cluster, a.Namespace = app.Spec.Destination.Cluster, t.Policy.Namespace
	a.Prune, a.Orphan = t.Policy.Prune, app.Spec.OnDelete == v1alpha1.Orphan
	a.Parts = []Part{{Options: t.Options}}
}

// Of describes an Application that a cluster holds.
func Of(app *v1alpha1.Application) *Application {
	a := &Application{
		Ref:  mizzen.Ref{Group: mizzen.Group, Kind: "Application", Namespace: app.Namespace, Name: app.Name},
		Name: app.Namespace + "/" + app.Name,
	}
	a.describe(app)
	return a
}
