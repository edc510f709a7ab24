// Package analyze asks Istio's own analyzers what is wrong with objects.
// Objects and what is known to exist beside them come in; Findings with
// Istio's codes, the field, the line and a remedy go out.
//
// The analyzers are those of `istioctl analyze`. They were made for a running
// cluster, so that files alone make them say much that is not so. Three things
// keep them honest: what exists elsewhere is given as Known, what a cluster
// makes of objects (pods, defaults) is made here, and a table of rules says
// which messages do not hold for files (rules.go).
//
// The analyzers keep state in globals, so runs in one process wait for each
// other.
package analyze

import (
	"context"
	"fmt"
	"sync"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pkg/config/analysis"

	"mizzen.dev/mizzen"
)

// Known is what exists beside the objects that are judged: objects of other
// Applications, of Istio's charts, of the cluster. Nothing is said about them.
type Known struct {
	Objects []mizzen.Object
	// Complete tells that the judged and the known objects are all that there
	// are, so that what they do not have does not exist.
	Complete bool
}

// Options are the settings of the mesh.
type Options struct {
	// RootNamespace is that of istiod; empty means that of the mesh
	// configuration, or istio-system.
	RootNamespace string
	// MeshConfig is the YAML of the mesh configuration; empty means Istio's
	// defaults.
	MeshConfig string
}

// one is held by the run under way.
var one sync.Mutex

// settings is the mesh configuration of that run. It is one object for good,
// with new content each time: an analyzer of AuthorizationPolicies keeps the
// first that it sees.
var settings meshconfig.MeshConfig

// Analyze returns what Istio's analyzers say of the objects, sorted. The
// objects are not changed, and need not be valid. An analyzer that panics is a
// Finding about the object that it was looking at; the others go on.
//
// It fails with Invalid if the mesh configuration cannot be read, and with the
// context's error when that ends.
func Analyze(ctx context.Context, objects []mizzen.Object, known Known, o Options) ([]mizzen.Finding, error) {
	one.Lock()
	defer one.Unlock()
	c, findings, err := newCatalog(ctx, objects, known, o)
	if err != nil {
		return nil, err
	}
	for _, a := range all() {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("analyze objects: %w", err)
		}
		findings = append(findings, run(a, c)...)
	}
	if err := ctx.Err(); err != nil {
		// An analyzer that was interrupted has seen a part of the objects.
		return nil, fmt.Errorf("analyze objects: %w", err)
	}
	mizzen.SortFindings(findings)
	return compact(findings), nil
}

// maxPanics is how many objects an analyzer may fail about before it is left
// out.
const maxPanics = 16

// run returns what one analyzer says. When it panics it is run again without
// the object that it was looking at.
func run(a analysis.Analyzer, c *catalog) []mizzen.Finding {
	var failed []mizzen.Finding
	c.hidden, c.neighbors = map[*instance]bool{}, neighbors[a.Metadata().Name]
	for range maxPanics {
		c.messages, c.looking = nil, nil
		reason := attempt(a, c)
		if reason == "" {
			return append(failed, c.findings()...)
		}
		culprit := c.lookingAt()
		failed = append(failed, failure(a.Metadata().Name, reason, culprit))
		if culprit == nil {
			return failed
		}
		c.hidden[culprit] = true
	}
	return failed
}

// attempt returns why the analyzer panicked, or "".
func attempt(a analysis.Analyzer, c *catalog) (reason string) {
	defer func() {
		if p := recover(); p != nil {
			reason = fmt.Sprint(p)
		}
	}()
	a.Analyze(c)
	return ""
}

func failure(analyzer, reason string, culprit *instance) mizzen.Finding {
	f := mizzen.Finding{
		Code: mizzen.CodeAnalyzerFailed, Severity: mizzen.Warning,
		Message: fmt.Sprintf("Istio's analyzer %s failed, so that its check is missing: %s", analyzer, reason),
		Remedy:  "look for empty or unusual values in the object; if it is as it should be, report this to Mizzen",
	}
	if culprit != nil {
		f.Ref, f.Origin = culprit.object.Ref(), culprit.object.Origins.Object
	}
	return f
}

// compact leaves out repetitions of sorted Findings: an analyzer says of a
// Deployment and of its pods the same.
func compact(findings []mizzen.Finding) []mizzen.Finding {
	kept := findings[:0]
	for i, f := range findings {
		if i > 0 {
			last := findings[i-1]
			if f.Code == last.Code && f.Ref == last.Ref && f.Path == last.Path && f.Message == last.Message {
				continue
			}
		}
		kept = append(kept, f)
	}
	return kept
}
