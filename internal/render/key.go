package render

import (
	"encoding/json"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"mizzen.dev/mizzen"
)

// codeVersion is raised whenever a change of Mizzen's own code makes a
// renderer yield other objects for the same input. Only then are results of
// older versions of Mizzen rendered again, random passwords included.
const codeVersion = "1"

// versionedModules are the libraries that decide what a renderer yields.
var versionedModules = map[Renderer][]string{
	Plain:     {"go.yaml.in/yaml/v3", "sigs.k8s.io/yaml"},
	Helm:      {"helm.sh/helm/v4", "github.com/Masterminds/sprig/v3", "k8s.io/client-go", "sigs.k8s.io/yaml"},
	Kustomize: {"sigs.k8s.io/kustomize/api", "sigs.k8s.io/kustomize/kyaml"},
}

// Key is everything that a rendering depended on. Two renderings of equal
// Keys yield equal outputs, unless a template is not a function of its inputs.
type Key struct {
	// Renderer is the one that was used.
	Renderer Renderer `json:"renderer"`
	// Options are those of the request, without what was not consulted.
	Options Options `json:"options"`
	// Scope is that of the Options.
	Scope     string    `json:"scope,omitempty"`
	Consulted Consulted `json:"consulted,omitzero"`
	// Versions names the code that rendered.
	Versions string `json:"versions"`
	// Facts are sorted by name.
	Facts []Fact `json:"facts"`
}

// newKey returns the Key of a rendering. Of a failed one it is not known what
// was consulted, so everything counts.
func newKey(o Options, r *rendering) Key {
	k := Key{Scope: o.Scope, Facts: r.facts, Consulted: Consulted{Capabilities: true, IsUpgrade: true}}
	if r.out != nil {
		k.Renderer, k.Consulted = r.out.Renderer, r.out.Consulted
	}
	k.Options = k.Consulted.reduce(o)
	k.Versions = versions(k.Renderer)
	return k
}

// reduce clears the options that were not consulted.
func (c Consulted) reduce(o Options) Options {
	o.Scope = ""
	if !c.Capabilities {
		o.Capabilities = Capabilities{}
	}
	if !c.IsUpgrade {
		o.IsUpgrade = false
	}
	return o
}

// Holds reports whether the Snapshot still has all that the rendering looked
// at: the same content of the files that were read, the same names in the
// directories that were listed, and nothing where nothing was found. It costs
// one look-up per Fact and reads no file.
func (k Key) Holds(s mizzen.Snapshot) bool {
	return !slices.ContainsFunc(k.Facts, func(f Fact) bool { return !f.holds(s) })
}

// Elsewhere returns what was read outside of the path that was rendered, such
// as the base of an overlay: files, and directories that were read whole.
func (k Key) Elsewhere() []string {
	var names []string
	for _, f := range k.Facts {
		if f.Saw == SawContent && f.Name != k.Options.Path && !within(f.Name, map[string]bool{k.Options.Path: true}) {
			names = append(names, f.Name)
		}
	}
	return names
}

// Matches reports whether a request with these Options, rendered by the code
// that is running, has this Key, provided that it Holds.
func (k Key) Matches(o Options) bool {
	return k.Scope == o.Scope && k.Versions == versions(k.Renderer) &&
		canonical(k.Options) == canonical(k.Consulted.reduce(o))
}

// Digest identifies the Key. It is the same in every process and on every
// machine: 64 hexadecimal digits.
func (k Key) Digest() string {
	parts := []string{string(k.Renderer), canonical(k.Options), k.Scope, canonical(k.Consulted), k.Versions}
	for _, f := range k.Facts {
		parts = append(parts, f.Name, string(f.Saw), f.ID)
	}
	return digest(parts...)
}

// Identity is the Digest without FieldOrigins, which change no object: who asks
// for less and who asks for more about the same objects agree on it.
func (k Key) Identity() string {
	k.Options.FieldOrigins = false
	return k.Digest()
}

// requestDigest identifies Options as far as it is known before rendering
// that they matter. Keys of one request differ in the rest.
func requestDigest(o Options) string {
	return digest(canonical(Consulted{}.reduce(o)), o.Scope)
}

// canonical returns v as JSON, in which maps are sorted. Options that cannot
// be encoded never reach a worker, so they have no Key.
func canonical(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		return "unencodable: " + err.Error()
	}
	return string(out)
}

// versions names the code of a renderer; of all of them for "".
func versions(r Renderer) string {
	modules := moduleVersions()
	names := versionedModules[r]
	if r == "" {
		names = slices.Concat(versionedModules[Plain], versionedModules[Helm], versionedModules[Kustomize])
	}
	list := []string{"mizzen-render@" + codeVersion}
	for _, name := range names {
		list = append(list, name+"@"+modules[name])
	}
	return strings.Join(list, " ")
}

var moduleVersions = sync.OnceValue(func() map[string]string {
	found := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return found
	}
	for _, m := range info.Deps {
		version := m.Version
		if m.Replace != nil {
			version = m.Replace.Path + "@" + m.Replace.Version + m.Replace.Sum
		}
		found[m.Path] = version
	}
	return found
})
