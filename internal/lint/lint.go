// Package lint says what is wrong with rendered objects before a cluster sees
// them. Objects and the schemas of their kinds come in; Findings with stable
// codes and the lines that cause them go out. What the API server would refuse
// is Fatal.
package lint

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen"
	objectschema "mizzen.dev/mizzen/internal/lint/schema"
)

// Check judges objects by the schemas of their kinds. A kind that is defined
// by a CustomResourceDefinition among the objects is judged by that one. The
// Findings are sorted.
//
// It fails only if a schema cannot be had: with Unreachable if the cluster
// does not answer, or as the Schemas say.
func Check(ctx context.Context, objects []mizzen.Object, schemas Schemas) ([]mizzen.Finding, error) {
	local := definedBy(objects)
	var findings []mizzen.Finding
	for _, o := range objects {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("check objects: %w", err)
		}
		if unchecked(o) {
			continue
		}
		of, err := checkObject(ctx, o, local, schemas)
		if err != nil {
			return nil, fmt.Errorf("check %s: %w", o.Ref(), err)
		}
		findings = append(findings, of...)
		findings = append(findings, checkIgnore(o)...)
	}
	mizzen.SortFindings(findings)
	return findings, nil
}

func checkObject(ctx context.Context, o mizzen.Object, local *definitions, schemas Schemas) ([]mizzen.Finding, error) {
	gvk := o.GroupVersionKind()
	if missing := untyped(o); missing != "" {
		return []mizzen.Finding{finding(o, objectschema.Problem{
			Code: mizzen.CodeMissingField, Severity: mizzen.Fatal, Path: missing, Message: string(missing) + " is required",
		})}, nil
	}
	s, err := local.lookup(gvk)
	if err != nil {
		return []mizzen.Finding{{
			Code: mizzen.CodeUnknownKind, Severity: mizzen.Warning, Ref: o.Ref(), Origin: o.Origins.Object,
			Message: fmt.Sprintf("the CustomResourceDefinition of %s cannot be used to check it: %v", gvk.Kind, err),
			Remedy:  "mend the definition",
		}}, nil
	}
	if s == nil {
		if s, err = schemas.Lookup(ctx, gvk); err != nil {
			return nil, err
		}
	}
	if s == nil {
		return []mizzen.Finding{unknownKind(o, schemas)}, nil
	}
	var findings []mizzen.Finding
	for _, p := range s.Validate(ctx, o.Object) {
		findings = append(findings, finding(o, p))
	}
	return findings, nil
}

// untyped returns apiVersion or kind if the object lacks it.
func untyped(o mizzen.Object) mizzen.Path {
	for _, key := range []string{"apiVersion", "kind"} {
		if s, ok := o.Object[key].(string); !ok || s == "" {
			return mizzen.Path(key)
		}
	}
	return ""
}

func finding(o mizzen.Object, p objectschema.Problem) mizzen.Finding {
	f := mizzen.Finding{
		Code: p.Code, Severity: p.Severity, Message: p.Message, Remedy: p.Remedy,
		Ref: o.Ref(), Path: p.Path, Origin: o.Origins.Of(p.Path),
	}
	if p.Code == mizzen.CodeMissingField || p.Path == "" {
		f.Origin = place(o, p.Path)
	}
	return f
}

// place returns where something is missing: the line of the nearest field that
// is there, else that of the object.
func place(o mizzen.Object, p mizzen.Path) mizzen.Origin {
	for p != "" {
		p = p.Parent()
		if at, ok := o.Origins.Fields[p]; ok {
			return at
		}
	}
	return o.Origins.Object
}

func unknownKind(o mizzen.Object, schemas Schemas) mizzen.Finding {
	gvk := o.GroupVersionKind()
	f := mizzen.Finding{
		Code: mizzen.CodeUnknownKind, Severity: schemas.Unknown(), Ref: o.Ref(), Origin: o.Origins.Object,
		Message: fmt.Sprintf("the kind %s of %s is not known, so the object is not checked", gvk.Kind, gvk.GroupVersion()),
	}
	like, complete := schemas.Similar(gvk)
	if complete {
		f.Severity = mizzen.Warning
	}
	if like != (schema.GroupVersionKind{}) {
		f.Severity = mizzen.Warning
		f.Message += fmt.Sprintf("; did you mean %s of %s?", like.Kind, like.GroupVersion())
		f.Remedy = fmt.Sprintf("write apiVersion: %s and kind: %s", like.GroupVersion(), like.Kind)
	}
	return f
}

// syncOptions are the annotations that may turn the check off for an object.
var syncOptions = []string{mizzen.AnnotationSyncOptions, "argocd.argoproj.io/sync-options"}

// unchecked tells whether an object asks not to be validated.
func unchecked(o mizzen.Object) bool {
	annotations := o.GetAnnotations()
	return slices.ContainsFunc(syncOptions, func(name string) bool {
		return slices.ContainsFunc(strings.Split(annotations[name], ","), func(option string) bool {
			return strings.TrimSpace(option) == "Validate=false"
		})
	})
}
