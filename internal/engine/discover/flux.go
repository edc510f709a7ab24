package discover

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/render"
)

// fluxSpec is the spec of Flux's Kustomization as far as rendering needs it:
// https://fluxcd.io/flux/components/kustomize/kustomizations/.
type fluxSpec struct {
	SourceRef       fluxRef `json:"sourceRef"`
	Path            string  `json:"path"`
	Prune           bool    `json:"prune"`
	TargetNamespace string  `json:"targetNamespace"`
	NamePrefix      string  `json:"namePrefix"`
	NameSuffix      string  `json:"nameSuffix"`
	Images          []any   `json:"images"`
	Components      []any   `json:"components"`
	Patches         []any   `json:"patches"`
	CommonMetadata  struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
	} `json:"commonMetadata"`
	PostBuild *struct {
		Substitute     map[string]string `json:"substitute"`
		SubstituteFrom []map[string]any  `json:"substituteFrom"`
	} `json:"postBuild"`
	KubeConfig     *fluxKubeConfig `json:"kubeConfig"`
	DeletionPolicy string          `json:"deletionPolicy"`
}

type fluxRef struct {
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
}

type fluxKubeConfig struct {
	SecretRef struct {
		Name string `json:"name"`
	} `json:"secretRef"`
}

// readFlux reads a Kustomization of Flux.
func (c *Catalog) readFlux(a *Application, m Manifest) error {
	var spec fluxSpec
	if err := decode(m, &spec); err != nil {
		return err
	}
	if err := c.fluxSource(spec.SourceRef, a.Ref.Namespace, spec.Path); err != nil {
		return err
	}
	if spec.KubeConfig != nil {
		a.Cluster = spec.KubeConfig.SecretRef.Name
	}
	a.Prune = spec.Prune
	a.Orphan = spec.DeletionPolicy == "Orphan" || spec.DeletionPolicy == "" && !spec.Prune
	if a.Namespace = spec.TargetNamespace; a.Namespace == "" {
		a.Namespace = "default"
	}
	if spec.PostBuild != nil {
		a.Substitute = spec.PostBuild.Substitute
		if a.Substitute == nil {
			a.Substitute = map[string]string{}
		}
		if len(spec.PostBuild.SubstituteFrom) > 0 {
			a.note("postBuild.substituteFrom is not read, so that its variables stay as they are written", "")
		}
	}
	part, err := c.fluxPart(spec)
	a.Parts = []Part{part}
	return err
}

// fluxPart is the directory of a Kustomization. Where it has no kustomization
// file, Flux writes one that names every manifest below.
func (c *Catalog) fluxPart(spec fluxSpec) (Part, error) {
	directory := clean(spec.Path)
	part := Part{Options: render.Options{Path: directory, Renderer: render.Kustomize, Namespace: spec.TargetNamespace}}
	k := kustomization{
		Namespace: spec.TargetNamespace, NamePrefix: spec.NamePrefix, NameSuffix: spec.NameSuffix,
		Images: spec.Images, Components: spec.Components, Patches: spec.Patches,
		CommonAnnotations: spec.CommonMetadata.Annotations,
	}
	if _, _, err := c.kustomizationFile(directory); err == nil {
		part.Overlay, err = c.fluxOverlay(directory, k, spec)
		return part, err
	} else if !errors.Is(err, fs.ErrNotExist) {
		return part, nil
	}
	resources, err := c.fluxResources(directory, ".", 0)
	if err != nil || len(resources) == 0 {
		part.Options.Renderer = render.Plain
		return part, nil //nolint:nilerr // the renderer says that there is nothing
	}
	doc := map[string]any{"resources": resources}
	k.lay(doc)
	layLabels(doc, spec.CommonMetadata.Labels)
	b, err := yaml.Marshal(doc)
	part.Overlay = map[string][]byte{path.Join(directory, "kustomization.yaml"): b}
	return part, err
}

// fluxOverlay is overlay with the labels of Flux, which no selector gets.
func (c *Catalog) fluxOverlay(directory string, k kustomization, spec fluxSpec) (map[string][]byte, error) {
	if k.empty() && len(spec.CommonMetadata.Labels) == 0 {
		return nil, nil
	}
	file, b, err := c.kustomizationFile(directory)
	if err != nil {
		return nil, err
	}
	doc := map[string]any{}
	if yaml.Unmarshal(b, &doc) != nil || doc == nil {
		return nil, nil // the renderer says what is wrong with it, and where
	}
	k.lay(doc)
	layLabels(doc, spec.CommonMetadata.Labels)
	if b, err = yaml.Marshal(doc); err != nil {
		return nil, err
	}
	return map[string][]byte{file: b}, nil
}

// layLabels adds labels that are no part of selectors.
func layLabels(doc map[string]any, labels map[string]string) {
	if len(labels) == 0 {
		return
	}
	have, _ := doc["labels"].([]any)
	doc["labels"] = append(have, map[string]any{"pairs": labels})
}

// fluxResources lists what Flux would write into a kustomization: manifests,
// and directories with a kustomization of their own.
func (c *Catalog) fluxResources(directory, below string, depth int) ([]any, error) {
	entries, err := c.snapshot.ReadDir(path.Join(directory, below))
	if err != nil || depth > maxDepth {
		return nil, err
	}
	var resources []any
	for _, e := range entries {
		name := path.Join(below, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			if _, _, err := c.kustomizationFile(path.Join(directory, name)); err == nil {
				resources = append(resources, name)
				continue
			}
			more, err := c.fluxResources(directory, name, depth+1)
			if err != nil {
				return nil, err
			}
			resources = append(resources, more...)
		case isManifest(e) && path.Ext(e.Name()) != ".json":
			resources = append(resources, name)
		}
	}
	return resources, nil
}

// fluxSource says why a source is not the repository under review.
func (c *Catalog) fluxSource(ref fluxRef, namespace, directory string) error {
	if ref.Kind != "GitRepository" {
		return fmt.Errorf("its source is %s %s, which is no Git repository", article(ref.Kind), ref.Name)
	}
	if ref.Namespace == "" {
		ref.Namespace = namespace
	}
	for known, source := range c.sources {
		if known.Kind == "GitRepository" && known.Name == ref.Name && (known.Namespace == ref.Namespace || ref.Namespace == "") {
			return c.here(source.url, source.revision, directory)
		}
	}
	// What bootstraps Flux is often not in the repository.
	return c.here("", "", directory)
}

func article(kind string) string {
	switch {
	case kind == "":
		return "a source without a kind"
	case strings.ContainsAny(kind[:1], "AEIOU"):
		return "an " + kind
	}
	return "a " + kind
}

// helmSpec is the spec of Flux's HelmRelease as far as rendering needs it:
// https://fluxcd.io/flux/components/helm/helmreleases/.
type helmSpec struct {
	ReleaseName     string `json:"releaseName"`
	TargetNamespace string `json:"targetNamespace"`
	Chart           *struct {
		Spec struct {
			Chart                    string   `json:"chart"`
			SourceRef                fluxRef  `json:"sourceRef"`
			ValuesFiles              []string `json:"valuesFiles"`
			IgnoreMissingValuesFiles bool     `json:"ignoreMissingValuesFiles"`
		} `json:"spec"`
	} `json:"chart"`
	ChartRef      *fluxRef         `json:"chartRef"`
	Values        map[string]any   `json:"values"`
	ValuesFrom    []map[string]any `json:"valuesFrom"`
	PostRenderers []map[string]any `json:"postRenderers"`
	Install       struct {
		SkipCRDs bool   `json:"skipCRDs"`
		CRDs     string `json:"crds"`
	} `json:"install"`
	KubeConfig *fluxKubeConfig `json:"kubeConfig"`
}

// readFluxHelm reads a HelmRelease whose chart is in this repository.
func (c *Catalog) readFluxHelm(a *Application, m Manifest) error {
	var spec helmSpec
	if err := decode(m, &spec); err != nil {
		return err
	}
	if err := c.fluxChart(spec, a.Ref.Namespace); err != nil {
		return err
	}
	chart := spec.Chart.Spec
	if spec.KubeConfig != nil {
		a.Cluster = spec.KubeConfig.SecretRef.Name
	}
	a.Namespace = cmp.Or(spec.TargetNamespace, a.Ref.Namespace)
	o := render.Options{
		Path: clean(chart.Chart), Renderer: render.Helm, Namespace: a.Namespace, Values: spec.Values, IsUpgrade: true,
		ReleaseName: cmp.Or(spec.ReleaseName, strings.TrimPrefix(spec.TargetNamespace+"-"+a.Ref.Name, "-")),
		SkipCRDs:    spec.Install.SkipCRDs || spec.Install.CRDs == "Skip",
	}
	for _, file := range chart.ValuesFiles {
		name := "/" + clean(file)
		if !chart.IgnoreMissingValuesFiles || c.exists(o.Path, name) {
			o.ValuesFiles = append(o.ValuesFiles, name)
		}
	}
	if len(spec.ValuesFrom) > 0 {
		a.note("valuesFrom is not read", "write what is to be reviewed under values")
	}
	if len(spec.PostRenderers) > 0 {
		a.note("postRenderers are not run", "")
	}
	a.Parts = []Part{{Options: o}}
	return nil
}

// fluxChart says why the chart of a HelmRelease is not in this repository.
func (c *Catalog) fluxChart(spec helmSpec, namespace string) error {
	switch {
	case spec.ChartRef != nil:
		return fmt.Errorf("its chart is %s %s, which is not in this repository", article(spec.ChartRef.Kind), spec.ChartRef.Name)
	case spec.Chart == nil:
		return errors.New("it names no chart")
	}
	chart := spec.Chart.Spec
	if chart.SourceRef.Kind != "GitRepository" {
		return fmt.Errorf("its chart %s is of %s, not in this repository", chart.Chart, article(chart.SourceRef.Kind))
	}
	return c.fluxSource(chart.SourceRef, namespace, chart.Chart)
}

// FluxHome is the directory of the cluster that a Flux manifest is for, by the
// file that holds it: Flux keeps its own manifests in flux-system below.
func FluxHome(ref mizzen.Ref, file string) string {
	if !strings.HasSuffix(ref.Group, ".toolkit.fluxcd.io") {
		return ""
	}
	directory := path.Dir(file)
	if path.Base(directory) == "flux-system" {
		directory = path.Dir(directory)
	}
	return directory
}
