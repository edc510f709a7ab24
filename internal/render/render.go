// Package render turns a path of a Snapshot into objects, each with its
// Origin. Charts and kustomizations are untrusted code: they run in worker
// processes (package worker) that see nothing but the files they ask for, and
// what they asked for is the key under which the result is kept.
package render

import (
	"mizzen.dev/mizzen"
)

// Renderer names a way to turn files into objects.
type Renderer string

// The renderers.
const (
	Helm      Renderer = "Helm"
	Kustomize Renderer = "Kustomize"
	Plain     Renderer = "Plain"
)

// Options says what to render and how. It travels to the worker as JSON.
type Options struct {
	// Path is the directory within the Snapshot, in the form of fs.ValidPath.
	Path string `json:"path"`
	// Renderer is detected from the files if it is empty: Chart.yaml means
	// Helm, a kustomization file means Kustomize, anything else Plain.
	Renderer Renderer `json:"renderer,omitempty"`
	// Namespace is where objects without a namespace will go; charts see it as
	// .Release.Namespace. Objects are returned as they were rendered.
	Namespace string `json:"namespace,omitempty"`

	// ReleaseName, ValuesFiles, Values and SkipCRDs are Helm's. A values file
	// is relative to Path, or to the repository's root with a leading "/".
	ReleaseName string         `json:"releaseName,omitempty"`
	ValuesFiles []string       `json:"valuesFiles,omitempty"`
	Values      map[string]any `json:"values,omitempty"`
	SkipCRDs    bool           `json:"skipCRDs,omitempty"`
	// IsUpgrade is what charts see as .Release.IsUpgrade.
	IsUpgrade bool `json:"isUpgrade,omitempty"`

	// Images and NamePrefix are Kustomize's.
	Images     []string `json:"images,omitempty"`
	NamePrefix string   `json:"namePrefix,omitempty"`

	// Capabilities are those of the destination.
	Capabilities Capabilities `json:"capabilities"`
	// FieldOrigins asks for the origin of every field, which costs a second
	// rendering; without it only Origins.Object is set.
	FieldOrigins bool `json:"fieldOrigins,omitempty"`

	// Scope names who asks, as an Application's namespace/name. Kept results
	// are never shared between scopes, so that nobody is given the random
	// passwords that somebody else's rendering made up. It stays with the
	// parent.
	Scope string `json:"-"`
}

// Capabilities is what a chart may ask about the cluster.
type Capabilities struct {
	// KubeVersion is such as "v1.36.3"; empty means that of the Kubernetes
	// libraries that Mizzen is built with.
	KubeVersion string `json:"kubeVersion,omitempty"`
	// APIVersions are "group/version" and "group/version/Kind", sorted.
	APIVersions []string `json:"apiVersions,omitempty"`
}

// Output is what a rendering yields.
type Output struct {
	// Renderer is the one that was used.
	Renderer Renderer
	// Objects are in the order of the renderer. A List is already split.
	Objects  []mizzen.Object
	Findings []mizzen.Finding
	// Nondeterministic is set if the same input may give another output: a
	// template called randAlphaNum, genCA, now or the like.
	Nondeterministic bool
	// Consulted tells which of the Options beyond the files had a say, so that
	// the others stay out of the key.
	Consulted Consulted
	// Tainted is set if the rendering may have changed state of its process,
	// as kustomize does with openapi: and crds:; the worker is not used again.
	// A renderer that fails after such a change returns an Output that has
	// nothing but Tainted, beside the error.
	Tainted bool
}

// Consulted tells which inputs a rendering looked at.
type Consulted struct {
	Capabilities bool `json:"capabilities,omitempty"`
	IsUpgrade    bool `json:"isUpgrade,omitempty"`
}
