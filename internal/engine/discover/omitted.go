package discover

import (
	"path"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
)

// Omitted is what a manifest declares and nobody here can look into.
type Omitted struct {
	mizzen.Finding
	// Spec is what the manifest says.
	Spec any
	// Area is the part of this repository that it deploys.
	Area Area
}

// source is where Argo CD takes something from, also as a template, in which
// everything may be text.
type source struct {
	RepoURL        string `json:"repoURL"`
	TargetRevision string `json:"targetRevision"`
	Path           string `json:"path"`
	Chart          string `json:"chart"`
	Ref            string `json:"ref"`
	Helm           struct {
		ValueFiles []string `json:"valueFiles"`
	} `json:"helm"`
}

// sourced is a spec that names sources.
type sourced struct {
	Source  *source  `json:"source"`
	Sources []source `json:"sources"`
}

func (s sourced) all() []source {
	if s.Source == nil {
		return s.Sources
	}
	return append([]source{*s.Source}, s.Sources...)
}

// setSpec is the spec of an ApplicationSet as far as it tells where in a
// repository its Applications are.
type setSpec struct {
	Generators []generator `json:"generators"`
	Template   template    `json:"template"`
}

type template struct {
	Spec sourced `json:"spec"`
}

// generator makes Applications; a matrix, or a merge, of others.
type generator struct {
	Git *struct {
		RepoURL     string    `json:"repoURL"`
		Revision    string    `json:"revision"`
		Directories []pattern `json:"directories"`
		Files       []pattern `json:"files"`
	} `json:"git"`
	List *struct {
		Elements []map[string]any `json:"elements"`
	} `json:"list"`
	Matrix   *generators `json:"matrix"`
	Merge    *generators `json:"merge"`
	Template *template   `json:"template"`
}

type generators struct {
	Generators []generator `json:"generators"`
}

type pattern struct {
	Path    string `json:"path"`
	Exclude bool   `json:"exclude"`
}

// omitted says of a manifest that is not looked into what it is, and which part
// of the repository it deploys.
func (c *Catalog) omitted(m Manifest, f mizzen.Finding) *Omitted {
	o := &Omitted{Finding: f, Spec: m.Object["spec"]}
	switch kindOf(m.Object) {
	case kindArgo:
		var spec sourced
		if decode(m, &spec) == nil {
			c.lend(&o.Area, spec)
		}
	case kindArgoSet:
		var spec setSpec
		if decode(m, &spec) != nil {
			o.Area.anywhere = true
			break
		}
		c.set(&o.Area, spec)
	}
	return o
}

// lend adds what sources of this repository deploy, and the values that they lend
// to a chart from elsewhere. It returns the directories that the cluster chooses
// altogether.
func (c *Catalog) lend(a *Area, spec sourced) (chosen []string) {
	lent := map[string]bool{}
	for _, s := range spec.all() {
		lent[s.Ref] = s.Ref != "" && c.deploys(s)
	}
	for _, s := range spec.all() {
		here := c.deploys(s)
		switch {
		case !here || s.Path == "":
		case whole(s.Path):
			chosen = append(chosen, s.Path)
		default:
			a.directories(s.Path)
		}
		for _, file := range s.Helm.ValueFiles {
			if name, ok := valueFile(s.Path, file, here, lent); ok {
				a.files(name)
			}
		}
	}
	return chosen
}

// valueFile names a values file of a source, as argoValueFile does, from the root
// of the repository; here tells whether the source is of this repository, and lent
// which others are.
func valueFile(directory, file string, here bool, lent map[string]bool) (string, bool) {
	name, isLent := strings.CutPrefix(file, "$")
	switch {
	case isLent:
		ref, rest, _ := strings.Cut(name, "/")
		return rest, lent[ref]
	case strings.HasPrefix(file, "/"):
		return file, here
	}
	return path.Join(directory, file), here && !strings.Contains(file, "://")
}

// deploys tells whether a source is a directory, or files, of this repository.
func (c *Catalog) deploys(s source) bool { return s.Chart == "" && c.mine(s.RepoURL, s.TargetRevision) }

// mine tells whether a repository may be this one, at a revision that moves.
func (c *Catalog) mine(url, revision string) bool {
	return (templated(url) || c.strangers || c.known(url)) && !pinned(revision)
}

// whole tells whether a path is one template.
func whole(p string) bool {
	return strings.HasPrefix(p, "{{") && strings.Index(p, "}}") == len(p)-len("}}")
}

// set adds what the Applications of an ApplicationSet may deploy.
func (c *Catalog) set(a *Area, spec setSpec) {
	all := flat(spec.Generators)
	chosen := c.lend(a, spec.Template.Spec)
	for _, g := range all {
		if g.Template != nil {
			chosen = append(chosen, c.lend(a, g.Template.Spec)...)
		}
		c.generates(a, g)
	}
	for _, p := range chosen {
		if !c.told(a, p, all) {
			a.anywhere = true
		}
	}
}

// generates adds what a generator reads of this repository.
func (c *Catalog) generates(a *Area, g generator) {
	if g.Git == nil || !c.mine(g.Git.RepoURL, g.Git.Revision) {
		return
	}
	for _, d := range g.Git.Directories {
		if d.Exclude {
			a.without(d.Path)
		} else {
			a.directories(d.Path)
		}
	}
	for _, f := range g.Git.Files {
		if !f.Exclude {
			a.files(f.Path)
		}
	}
}

// directoryOf are the names by which templates know the directory that a
// generator found in Git.
var directoryOf = []string{"path", "path.path", ".path.path"}

// told adds the directories that a template may stand for, as far as generators
// tell them: those that were found in Git, or that a list names.
func (c *Catalog) told(a *Area, template string, all []generator) bool {
	found := false
	name := strings.TrimSpace(strings.Trim(template, "{}"))
	for _, g := range all {
		if g.Git != nil && slices.Contains(directoryOf, name) {
			found = true
			for _, d := range g.Git.Directories {
				if !d.Exclude {
					a.directories(d.Path)
				}
			}
			for _, f := range g.Git.Files {
				a.directories(path.Dir(clean(f.Path)))
			}
		}
		if g.List == nil {
			continue
		}
		for _, element := range g.List.Elements {
			if directory, ok := element[strings.TrimPrefix(name, ".")].(string); ok && directory != "" {
				found = true
				a.directories(directory)
			}
		}
	}
	return found
}

// flat are generators with those that they combine.
func flat(all []generator) []generator {
	var found []generator
	for _, g := range all {
		found = append(found, g)
		for _, more := range []*generators{g.Matrix, g.Merge} {
			if more != nil {
				found = append(found, flat(more.Generators)...)
			}
		}
	}
	return found
}

// setAddresses are the repositories that an ApplicationSet names.
func setAddresses(m Manifest) []string {
	var spec setSpec
	if decode(m, &spec) != nil {
		return nil
	}
	var urls []string
	for _, s := range spec.Template.Spec.all() {
		urls = append(urls, s.RepoURL)
	}
	for _, g := range flat(spec.Generators) {
		if g.Git != nil {
			urls = append(urls, g.Git.RepoURL)
		}
	}
	return urls
}
