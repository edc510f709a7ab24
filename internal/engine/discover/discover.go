// Package discover finds what a repository deploys: the Applications of
// Mizzen, the Applications of Argo CD, the Kustomizations and HelmReleases of
// Flux, and, where nothing declares any, directories that can be rendered.
//
// Manifests come in, as they stand in a Snapshot or as another Application
// renders them; Applications go out, each with what is needed to render it. It
// asks no cluster and renders nothing.
package discover

import (
	"path"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
)

// Application is something that is deployed from the repository.
type Application struct {
	// Ref is that of the manifest that declares it; zero for a directory.
	Ref mizzen.Ref
	// Name is what people call it: namespace/name, or a directory.
	Name string
	// Home tells declarations of one name in several directories apart, each of
	// which is for a cluster of its own. An Application that another one renders
	// has the same Home.
	Home string
	// Cluster is the name of the destination, as far as it is told.
	Cluster string
	// Origin is where it is declared.
	Origin mizzen.Origin
	// Parts are the directories that make it up; mostly it is one.
	Parts []Part
	// Namespace is for objects that name none.
	Namespace string
	// Substitute are the variables that Flux puts into rendered objects; nil
	// leaves "${…}" alone.
	Substitute map[string]string
	// Select says which manifests of a plain directory count; nil: all.
	Select *Selection
	// Prune: an object that leaves Git is deleted.
	Prune bool
	// Orphan: the objects outlive the Application.
	Orphan bool
	// Notes are what its rendering leaves out.
	Notes []mizzen.Finding
}

// Part is one directory of an Application.
type Part struct {
	Options render.Options
	// Overlay holds files that are added to the Snapshot, or replace one of it,
	// by name: what other tools lay over a kustomization.
	Overlay map[string][]byte `json:",omitempty"`
}

// Selection is how Argo CD chooses among the manifests of a directory.
type Selection struct {
	Recurse          bool
	Include, Exclude string
}

// ID identifies the Application on both sides of a change.
func (a *Application) ID() string {
	if a.Ref == (mizzen.Ref{}) {
		return a.Name
	}
	return a.Home + "\x00" + a.Cluster + "\x00" + a.Ref.String()
}

// Kind is that of the manifest with its group; "" for a directory.
func (a *Application) Kind() string {
	if a.Ref == (mizzen.Ref{}) {
		return ""
	}
	return a.Ref.GroupKind().String()
}

// Path is the first directory that is rendered.
func (a *Application) Path() string {
	if len(a.Parts) == 0 {
		return ""
	}
	return a.Parts[0].Options.Path
}

// Mesh is the cluster that its objects share with others.
func (a *Application) Mesh() string {
	switch {
	case a.Home == "":
		return a.Cluster
	case a.Cluster == "":
		return a.Home
	}
	return a.Home + "/" + a.Cluster
}

// note adds a Finding about the manifest.
func (a *Application) note(message, remedy string) {
	a.Notes = append(a.Notes, mizzen.Finding{
		Code: mizzen.CodeOptionIgnored, Severity: mizzen.Info, Ref: a.Ref, Origin: a.Origin, Message: message, Remedy: remedy,
	})
}

// Selects tells whether an object of a file below directory counts.
func (s *Selection) Selects(directory, file string) bool {
	if s == nil {
		return true
	}
	below := strings.TrimPrefix(file, directory+"/")
	if directory == "." {
		below = file
	}
	if !s.Recurse && strings.Contains(below, "/") {
		return false
	}
	if s.Exclude != "" && matches(s.Exclude, below) {
		return false
	}
	return s.Include == "" || matches(s.Include, below)
}

// matches is a glob as Argo CD has it: alternatives in braces, and a star that
// does not end at a slash. A pattern that is malformed matches nothing.
func matches(pattern, name string) bool {
	for _, one := range alternatives(pattern) {
		if ok, err := path.Match(strings.ReplaceAll(one, "**", "*"), name); ok && err == nil {
			return true
		}
		// path.Match knows no star across directories: the last name counts.
		if ok, err := path.Match(one, path.Base(name)); ok && err == nil {
			return true
		}
	}
	return false
}

// alternatives expands the first braces: {a,b}.yaml is a.yaml and b.yaml.
func alternatives(pattern string) []string {
	open := strings.IndexByte(pattern, '{')
	end := strings.IndexByte(pattern, '}')
	if open < 0 || end < open {
		return []string{pattern}
	}
	var all []string
	for _, a := range strings.Split(pattern[open+1:end], ",") {
		all = append(all, pattern[:open]+strings.TrimSpace(a)+pattern[end+1:])
	}
	return all
}

// clean turns what people write, ./a/b/ or nothing at all, into the form of
// fs.ValidPath. A path that leaves the repository stays one that does.
func clean(p string) string {
	p = strings.TrimPrefix(p, "/")
	if p == "" {
		return "."
	}
	return path.Clean(p)
}
