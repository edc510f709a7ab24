package discover

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/webhook"
)

// Catalog reads the manifests of one revision.
type Catalog struct {
	snapshot mizzen.Snapshot
	// remotes are the keys of the clone's own addresses.
	remotes map[string]bool
	// sources are the repositories that manifests declare.
	sources map[mizzen.Ref]origin
	// strangers: no address in the repository is one of the clone's, as in a
	// mirror under another name. Then what exists here counts as meant.
	strangers bool
}

// origin is a repository as a manifest names it.
type origin struct{ url, revision string }

// NewCatalog returns a Catalog for a Snapshot of a clone with these remotes.
func NewCatalog(snapshot mizzen.Snapshot, remotes []string) *Catalog {
	c := &Catalog{snapshot: snapshot, remotes: map[string]bool{}, sources: map[mizzen.Ref]origin{}, strangers: true}
	for _, url := range remotes {
		if key := webhook.Key(url); key != "" {
			c.remotes[key] = true
		}
	}
	return c
}

// Remember takes note of a repository that a manifest declares, and of the
// addresses that manifests name. All of a revision are remembered before the
// first is read.
func (c *Catalog) Remember(m Manifest) {
	switch kindOf(m.Object) {
	case kindMizzenRepository:
		c.source(m, text(m.Object, "spec", "url"), text(m.Object, "spec", "revision"))
	case kindFluxGit:
		revision := text(m.Object, "spec", "ref", "semver")
		for _, field := range []string{"commit", "tag", "branch"} {
			if revision == "" {
				revision = text(m.Object, "spec", "ref", field)
			}
		}
		c.source(m, text(m.Object, "spec", "url"), revision)
	case kindArgo:
		for _, s := range argoSources(m.Object) {
			c.address(s.RepoURL)
		}
	case kindArgoSet:
		for _, url := range setAddresses(m) {
			c.address(url)
		}
	}
}

func (c *Catalog) source(m Manifest, url, revision string) {
	c.sources[m.Ref()] = origin{url, revision}
	c.address(url)
}

func (c *Catalog) address(url string) {
	if c.known(url) {
		c.strangers = false
	}
}

// Read returns the Application that a manifest declares; neither is nil if it
// declares one that is not of this repository, and both are if it declares
// none.
func (c *Catalog) Read(m Manifest, home string) (*Application, *Omitted) {
	a := &Application{Ref: m.Ref(), Home: home, Origin: m.Origin, Prune: true}
	a.Name = strings.TrimPrefix(a.Ref.Namespace+"/"+a.Ref.Name, "/")
	var err error
	switch kindOf(m.Object) {
	case kindMizzen:
		err = c.readMizzen(a, m)
	case kindArgo:
		err = c.readArgo(a, m)
	case kindArgoSet:
		err = errNotExpanded
	case kindFlux:
		err = c.readFlux(a, m)
	case kindFluxHelm:
		err = c.readFluxHelm(a, m)
	default:
		return nil, nil
	}
	if err == nil {
		for i := range a.Parts {
			// Kept results are never shared between Applications.
			a.Parts[i].Options.Scope = a.ID()
		}
		return a, nil
	}
	f := mizzen.Finding{Code: mizzen.CodeElsewhere, Severity: mizzen.Info, Ref: a.Ref, Origin: a.Origin, Message: err.Error()}
	if errors.Is(err, errNotExpanded) {
		f.Code, f.Remedy = mizzen.CodeNotExpanded, "review what it generates in a cluster"
	}
	return nil, c.omitted(m, f)
}

var errNotExpanded = errors.New("an ApplicationSet is not expanded: only Argo CD knows what it generates")

// here says why a repository is not the one under review; nil: it is.
func (c *Catalog) here(url, revision, directory string) error {
	switch {
	case url != "" && !c.known(url) && !c.meant(directory):
		return fmt.Errorf("its source %s is another repository", url)
	case pinned(revision):
		return fmt.Errorf("it stays at %s, whatever changes here", revision)
	}
	return nil
}

// meant tells whether a directory of a repository under an unknown address is
// one of this clone.
func (c *Catalog) meant(directory string) bool {
	if !c.strangers || directory == "" {
		return false
	}
	_, err := c.snapshot.Stat(clean(directory))
	return err == nil
}

// known tells whether an address is the clone's: of a remote, or, as with a
// fork, of the same name.
func (c *Catalog) known(url string) bool {
	key := webhook.Key(url)
	if c.remotes[key] {
		return true
	}
	for remote := range c.remotes {
		if path.Base(remote) == path.Base(key) {
			return true
		}
	}
	return false
}

// version begins with a number, as tags of releases and ranges of them do.
var version = regexp.MustCompile(`^(refs/tags/|[~^<>=]*\s*v?\d+(\.\d+|\.x)|[0-9a-f]{40}$)`)

// pinned tells whether a revision does not move with a branch.
func pinned(revision string) bool { return version.MatchString(revision) }

// text returns a string of an object; "" if there is none.
func text(object map[string]any, fields ...string) string {
	s, _, err := unstructured.NestedString(object, fields...)
	if err != nil {
		return ""
	}
	return s
}

// decode reads a manifest's spec. Fields of other versions are left out.
func decode(m Manifest, spec any) error {
	b, err := json.Marshal(m.Object["spec"])
	if err == nil {
		err = json.Unmarshal(b, spec)
	}
	if err != nil {
		return fmt.Errorf("its spec cannot be read: %w", err)
	}
	return nil
}
