package discover

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen/internal/render"
)

// argoSpec is the spec of Argo CD's Application as far as rendering needs it:
// https://argo-cd.readthedocs.io/en/stable/user-guide/application-specification/.
type argoSpec struct {
	Source      *argoSource  `json:"source"`
	Sources     []argoSource `json:"sources"`
	Destination struct {
		Server    string `json:"server"`
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"destination"`
	SyncPolicy struct {
		Automated *struct {
			Prune bool `json:"prune"`
		} `json:"automated"`
	} `json:"syncPolicy"`
}

type argoSource struct {
	RepoURL        string         `json:"repoURL"`
	Path           string         `json:"path"`
	TargetRevision string         `json:"targetRevision"`
	Chart          string         `json:"chart"`
	Ref            string         `json:"ref"`
	Helm           *argoHelm      `json:"helm"`
	Kustomize      *kustomization `json:"kustomize"`
	Directory      *struct {
		Recurse bool           `json:"recurse"`
		Include string         `json:"include"`
		Exclude string         `json:"exclude"`
		Jsonnet map[string]any `json:"jsonnet"`
	} `json:"directory"`
	Plugin map[string]any `json:"plugin"`
}

type argoHelm struct {
	ReleaseName             string           `json:"releaseName"`
	ValueFiles              []string         `json:"valueFiles"`
	IgnoreMissingValueFiles bool             `json:"ignoreMissingValueFiles"`
	Values                  string           `json:"values"`
	ValuesObject            map[string]any   `json:"valuesObject"`
	Parameters              []argoParameter  `json:"parameters"`
	FileParameters          []map[string]any `json:"fileParameters"`
	SkipCRDs                bool             `json:"skipCrds"`
	Namespace               string           `json:"namespace"`
	KubeVersion             string           `json:"kubeVersion"`
	APIVersions             []string         `json:"apiVersions"`
}

type argoParameter struct {
	Name        string `json:"name"`
	Value       string `json:"value"`
	ForceString bool   `json:"forceString"`
}

// argoSources returns the sources of an Application that can be read.
func argoSources(object map[string]any) []argoSource {
	var spec argoSpec
	if decode(Manifest{Object: object}, &spec) != nil {
		return nil
	}
	return spec.sources()
}

func (s argoSpec) sources() []argoSource {
	if len(s.Sources) > 0 {
		return s.Sources
	}
	if s.Source != nil {
		return []argoSource{*s.Source}
	}
	return nil
}

// readArgo reads an Application of Argo CD, all of whose sources must be of
// this repository.
func (c *Catalog) readArgo(a *Application, m Manifest) error {
	var spec argoSpec
	if err := decode(m, &spec); err != nil {
		return err
	}
	a.Namespace, a.Cluster = spec.Destination.Namespace, spec.cluster()
	// Without automated pruning what left Git stays until somebody prunes it.
	a.Prune = spec.SyncPolicy.Automated == nil || spec.SyncPolicy.Automated.Prune
	metadata, _ := m.Object["metadata"].(map[string]any)
	finalizers, _ := metadata["finalizers"].([]any)
	a.Orphan = !slices.ContainsFunc(finalizers, func(f any) bool {
		name, _ := f.(string)
		return strings.HasPrefix(name, "resources-finalizer.argocd.argoproj.io")
	})
	refs, err := c.argoRefs(spec)
	if err != nil {
		return err
	}
	for _, s := range spec.sources() {
		if s.Path == "" {
			continue // it only lends files to the others
		}
		part, err := c.argoPart(a, s, refs)
		if err != nil {
			return err
		}
		a.Parts = append(a.Parts, part)
	}
	if len(a.Parts) == 0 {
		return errors.New("it names no path of this repository")
	}
	return nil
}

// cluster is the destination by name, or else by address; "" for the cluster
// that Argo CD runs in.
func (s argoSpec) cluster() string {
	switch {
	case s.Destination.Name == "in-cluster", s.Destination.Name == "" && s.Destination.Server == "https://kubernetes.default.svc":
		return ""
	case s.Destination.Name != "":
		return s.Destination.Name
	}
	return s.Destination.Server
}

// argoRefs returns the names by which sources lend files to others. It fails if
// a source is not this repository.
func (c *Catalog) argoRefs(spec argoSpec) (map[string]bool, error) {
	refs := map[string]bool{}
	for _, s := range spec.sources() {
		if s.Ref != "" {
			refs[s.Ref] = true
		}
		if s.Chart != "" {
			return nil, fmt.Errorf("its chart %s is not in this repository", s.Chart)
		}
		if err := c.here(s.RepoURL, s.TargetRevision, s.Path); err != nil {
			return nil, err
		}
	}
	return refs, nil
}

func (c *Catalog) argoPart(a *Application, s argoSource, refs map[string]bool) (Part, error) {
	o := render.Options{Path: clean(s.Path), Namespace: a.Namespace, ReleaseName: a.Ref.Name, IsUpgrade: true}
	if s.Plugin != nil {
		return Part{}, errors.New("it is rendered by a plugin of Argo CD")
	}
	if s.Directory != nil {
		if len(s.Directory.Jsonnet) > 0 {
			a.note("Jsonnet is not rendered", "")
		}
		o.Renderer = render.Plain
		a.Select = &Selection{s.Directory.Recurse, s.Directory.Include, s.Directory.Exclude}
	}
	if s.Helm != nil {
		if err := c.argoHelm(a, &o, s.Helm, refs); err != nil {
			return Part{}, err
		}
	}
	part := Part{Options: o}
	renderer, err := render.Detect(c.snapshot, o.Path)
	if err != nil {
		return part, nil //nolint:nilerr // the renderer says it again, to whom it concerns
	}
	switch {
	case o.Renderer == "" && renderer == render.Plain:
		// Argo CD descends only if it is told to.
		part.Options.Renderer, a.Select = render.Plain, &Selection{}
	case renderer == render.Kustomize && s.Kustomize != nil:
		part.Overlay, err = c.overlay(o.Path, *s.Kustomize)
	}
	return part, err
}

// argoHelm adds the options of a chart. Parameters win over values, and those
// over files.
func (c *Catalog) argoHelm(a *Application, o *render.Options, h *argoHelm, refs map[string]bool) error {
	if h.ReleaseName != "" {
		o.ReleaseName = h.ReleaseName
	}
	if h.Namespace != "" {
		o.Namespace = h.Namespace
	}
	o.SkipCRDs = h.SkipCRDs
	o.Capabilities = render.Capabilities{KubeVersion: h.KubeVersion, APIVersions: slices.Sorted(slices.Values(h.APIVersions))}
	if len(h.FileParameters) > 0 {
		a.note("helm.fileParameters are not read", "use valueFiles to have them reviewed")
	}
	for _, file := range h.ValueFiles {
		name, ok := argoValueFile(file, refs)
		if !ok {
			a.note(fmt.Sprintf("the values file %s is not in this repository", file), "")
			continue
		}
		if h.IgnoreMissingValueFiles && !c.exists(o.Path, name) {
			continue
		}
		o.ValuesFiles = append(o.ValuesFiles, name)
	}
	var err error
	o.Values, err = h.values()
	return err
}

// values are those that win over files; nil if there are none.
func (h *argoHelm) values() (map[string]any, error) {
	values := map[string]any{}
	maps.Copy(values, h.ValuesObject)
	if len(values) == 0 && h.Values != "" {
		if err := yaml.Unmarshal([]byte(h.Values), &values); err != nil {
			return nil, fmt.Errorf("its helm.values cannot be read: %w", err)
		}
	}
	for _, p := range h.Parameters {
		if err := p.set(values); err != nil {
			return nil, fmt.Errorf("its helm.parameters cannot be read: %w", err)
		}
	}
	if len(values) == 0 {
		return nil, nil
	}
	return values, nil
}

// set writes a parameter into values as `helm template --set` does.
func (p argoParameter) set(values map[string]any) error {
	value := p.Value
	if !strings.HasPrefix(value, "{") {
		value = strings.ReplaceAll(strings.ReplaceAll(value, `\,`, ","), ",", `\,`)
	}
	if p.ForceString {
		return strvals.ParseIntoString(p.Name+"="+value, values)
	}
	return strvals.ParseInto(p.Name+"="+value, values)
}

// argoValueFile returns a values file as render.Options has it. $name/file is
// one of another source of the same Application.
func argoValueFile(file string, refs map[string]bool) (string, bool) {
	if strings.Contains(file, "://") {
		return "", false
	}
	name, found := strings.CutPrefix(file, "$")
	if !found {
		return file, true
	}
	ref, rest, _ := strings.Cut(name, "/")
	return "/" + path.Clean(rest), refs[ref]
}

// exists tells whether a values file is there.
func (c *Catalog) exists(directory, name string) bool {
	if rooted, ok := strings.CutPrefix(name, "/"); ok {
		directory, name = ".", rooted
	}
	_, err := fs.Stat(c.snapshot, path.Join(directory, name))
	return err == nil
}
