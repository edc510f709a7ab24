// Package diff says what Git and a cluster disagree about.
//
// Prepare brings rendered objects into the form in which they are applied and
// compared: namespaces filled in, Secrets in one encoding, ownership marked.
// Compare sets such an object beside the live one and beside what the API
// server would store, and yields a Change with field-level differences. Both
// are pure: they read no cluster, and no value of a Secret leaves them.
package diff

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
)

// PrepareOptions says for whom objects are prepared.
type PrepareOptions struct {
	// Application becomes the owner.
	Application mizzen.Name
	// Installation is its id; empty means mizzen.DefaultInstallation.
	Installation string
	// Namespace is for namespaced objects that name none.
	Namespace string
	// Scope tells whether the cluster knows a kind and whether its objects
	// live in namespaces. Kinds that the objects themselves define by a
	// CustomResourceDefinition need not be known.
	Scope func(schema.GroupVersionKind) (namespaced, known bool)
}

// Prepare returns the objects as they are to be applied, in the same order.
// The given ones are not changed; what needs no change is shared with them.
// A Finding of severity Fatal concerns an object that cannot be applied: it is
// left out of the result, and nothing of the render may be applied.
func Prepare(objects []mizzen.Object, o PrepareOptions) ([]mizzen.Object, []mizzen.Finding, error) {
	if o.Scope == nil {
		return nil, nil, errors.New("prepare objects: no way to tell the scope of a kind")
	}
	if o.Installation == "" {
		o.Installation = mizzen.DefaultInstallation
	}
	p := preparer{PrepareOptions: o, defined: definedScopes(objects)}
	prepared := make([]mizzen.Object, 0, len(objects))
	for _, obj := range objects {
		if ready, ok := p.prepare(obj); ok {
			prepared = append(prepared, ready)
		}
	}
	prepared = p.refuseDuplicates(prepared)
	mizzen.SortFindings(p.findings)
	return prepared, p.findings, nil
}

type preparer struct {
	PrepareOptions
	// defined is the scope of kinds that CRDs of the same render define.
	defined  map[schema.GroupKind]bool
	findings []mizzen.Finding
}

// draft is one object on its way through Prepare: a copy down to its metadata.
type draft struct {
	mizzen.Object
	metadata map[string]any
	fatal    bool
}

func (p *preparer) prepare(obj mizzen.Object) (mizzen.Object, bool) {
	d, ok := p.draft(obj)
	if !ok {
		return mizzen.Object{}, false
	}
	for _, step := range []func(*draft){
		p.stripServerFields, p.settleNamespace, p.checkMetadata, p.checkOptions,
		p.encodeSecret, p.dropDuplicateKeys, p.mark,
	} {
		step(d)
	}
	return d.Object, !d.fatal
}

// draft checks that the object has the least of a form and a name.
func (p *preparer) draft(obj mizzen.Object) (*draft, bool) {
	if obj.Unstructured == nil || obj.Object == nil {
		return nil, false
	}
	d := &draft{Object: mizzen.Object{Unstructured: &unstructured.Unstructured{Object: cloneMap(obj.Object)}, Origins: obj.Origins}}
	metadata, isMap := d.Unstructured.Object["metadata"].(map[string]any)
	d.metadata = cloneMap(metadata)
	if d.metadata == nil {
		d.metadata = map[string]any{}
	}
	for _, field := range []string{"apiVersion", "kind"} {
		if s, _ := d.Unstructured.Object[field].(string); s == "" {
			p.fatal(d, mizzen.CodeMissingField, mizzen.Path(field), "the object has no "+field, "add it, or move the file out of the Application's path")
		}
	}
	name, _ := d.metadata["name"].(string)
	generated, _ := d.metadata["generateName"].(string)
	switch {
	case d.Unstructured.Object["metadata"] != nil && !isMap:
		p.fatal(d, mizzen.CodeInvalidMetadata, "metadata", "metadata is not a mapping", "write metadata.name")
	case name == "" && generated != "":
		p.fatal(d, mizzen.CodeGenerateName, "metadata.generateName",
			fmt.Sprintf("an object named by generateName (%q) would be created anew by every sync", generated), "give it a metadata.name")
	case name == "":
		p.fatal(d, mizzen.CodeInvalidMetadata, "metadata.name", "the object has no name, or one that is not a string", "give it a metadata.name, in quotes if it looks like a number")
	}
	d.Unstructured.Object["metadata"] = d.metadata
	return d, !d.fatal
}

// serverFields of metadata are the API server's alone; manifests that were
// copied out of a cluster carry them.
var serverFields = []string{
	"creationTimestamp", "managedFields", "resourceVersion", "uid", "generation", "selfLink",
	"deletionTimestamp", "deletionGracePeriodSeconds",
}

func (p *preparer) stripServerFields(d *draft) {
	for _, field := range serverFields {
		delete(d.metadata, field)
	}
	delete(d.Unstructured.Object, "status")
}

// mark adds what says whose object this is, to its own metadata only: labels
// of a pod template would restart the pods.
func (p *preparer) mark(d *draft) {
	set := func(field, key, value string) {
		current, _ := d.metadata[field].(map[string]any)
		next := make(map[string]any, len(current)+2)
		for k, v := range current {
			next[k] = v
		}
		next[key] = value
		d.metadata[field] = next
	}
	set("labels", mizzen.LabelManaged, p.Installation)
	set("annotations", mizzen.AnnotationOwner, p.Application.String())
	set("annotations", mizzen.AnnotationIdentity, d.Ref().String())
}

func (p *preparer) checkOptions(d *draft) {
	_, problems := mizzen.OptionsOf(d.Unstructured)
	for _, problem := range problems {
		p.report(d, mizzen.Finding{
			Code: mizzen.CodeInvalidSyncOption, Severity: mizzen.Warning, Path: "metadata.annotations",
			Message: problem, Remedy: "correct it; it has no effect as it is",
		})
	}
}

// refuseDuplicates reports objects that are rendered twice. Which of the two
// is meant cannot be known, and the loser would vanish without a word.
func (p *preparer) refuseDuplicates(objects []mizzen.Object) []mizzen.Object {
	first := make(map[mizzen.Ref]mizzen.Object, len(objects))
	kept := objects[:0]
	for _, obj := range objects {
		ref := obj.Ref()
		earlier, twice := first[ref]
		if !twice {
			first[ref] = obj
			kept = append(kept, obj)
			continue
		}
		p.report(&draft{Object: obj}, mizzen.Finding{
			Code: mizzen.CodeDuplicateObject, Severity: mizzen.Fatal,
			Message: fmt.Sprintf("the object is rendered twice: at %s and at %s", place(earlier), place(obj)),
			Remedy:  "remove or rename one of them",
		})
	}
	return kept
}

func place(obj mizzen.Object) string {
	if at := obj.Origins.Object.String(); at != "" {
		return at
	}
	return "an unknown place"
}

func (p *preparer) fatal(d *draft, code mizzen.Code, at mizzen.Path, message, remedy string) {
	d.fatal = true
	p.report(d, mizzen.Finding{Code: code, Severity: mizzen.Fatal, Path: at, Message: message, Remedy: remedy})
}

// report completes a Finding with the object and its place.
func (p *preparer) report(d *draft, f mizzen.Finding) {
	f.Ref = d.Ref()
	f.Origin = d.Origins.Object
	if f.Path != "" {
		if at := d.Origins.Of(f.Path); at.Line != 0 || f.Origin.File == "" {
			f.Origin = at
		}
	}
	p.findings = append(p.findings, f)
}

// cloneMap copies one level.
func cloneMap(m map[string]any) map[string]any {
	if m == nil {
		return nil
	}
	c := make(map[string]any, len(m)+1)
	for k, v := range m {
		c[k] = v
	}
	return c
}
