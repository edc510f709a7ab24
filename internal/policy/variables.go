package policy

import (
	"fmt"
	"maps"
	"slices"

	"mizzen.dev/mizzen"
)

// variables are what an expression sees of what a selector selects, and the hit
// behind each element by its id.
func (f *facts) variables(s selector) (vars map[string]any, elements map[string]hit) {
	elements = map[string]hit{}
	changes, findings, effects := []any{}, []any{}, []any{}
	apps := map[string]bool{}
	add := func(list []any, kind string, h hit, fields map[string]any) []any {
		if s.selects(h.at) == no {
			return list
		}
		id := fmt.Sprintf("%s-%06d", kind, len(list))
		fields["id"] = id
		elements[id] = h
		return append(list, fields)
	}
	for _, item := range f.in.Items {
		for i := range item.Changes {
			c := &item.Changes[i]
			changes = add(changes, "change", changeHit(item.Application, c, c.Reason), changeFields(item.Application, c))
		}
		for i := range item.Findings {
			g := &item.Findings[i]
			findings = add(findings, "finding", findingHit(item.Application, g), findingFields(item.Application, g))
		}
		if item.Application != "" && selectsAny(s.applications, []string{item.Application}, matchApplication) == yes {
			apps[item.Application] = true
		}
	}
	for i := range f.in.Effects {
		e := &f.in.Effects[i]
		h := f.effectHit(e, true)
		effects = add(effects, "effect", h, effectFields(e, h.at))
	}
	names := slices.Sorted(maps.Keys(apps))
	application := ""
	if len(names) == 1 {
		application = names[0]
	}
	var places []Place
	for _, h := range elements {
		places = append(places, h.places...)
	}
	return map[string]any{
		"changes": changes, "findings": findings, "effects": effects,
		"application": application, "applications": notNil(names),
		"owners": notNil(f.ownersOf(places)), "files": notNil(f.files),
	}, elements
}

func notNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func changeFields(app string, c *mizzen.Change) map[string]any {
	fields := make([]any, 0, len(c.Fields))
	for _, d := range c.Fields {
		fields = append(fields, map[string]any{"path": string(d.Path), "before": d.Before, "after": d.After, "manager": d.Manager})
	}
	return map[string]any{
		"application": app, "action": string(c.Action), "apiVersion": c.APIVersion,
		"group": c.Ref.Group, "kind": c.Ref.Kind, "namespace": c.Ref.Namespace, "name": c.Ref.Name,
		"fields": fields, "reason": c.Reason, "file": c.Origin.File, "line": int64(c.Origin.Line),
	}
}

func findingFields(app string, f *mizzen.Finding) map[string]any {
	return map[string]any{
		"application": app, "code": string(f.Code), "severity": string(f.Severity), "message": f.Message,
		"group": f.Ref.Group, "kind": f.Ref.Kind, "namespace": f.Ref.Namespace, "name": f.Ref.Name,
		"path": string(f.Path), "file": f.Origin.File, "line": int64(f.Origin.Line),
	}
}

func effectFields(e *mizzen.Effect, at touched) map[string]any {
	return map[string]any{
		"code": string(e.Code), "impact": string(e.Impact), "subject": e.Subject, "message": e.Message,
		"before": e.Before, "after": e.After, "callers": notNil(e.Callers), "otherNamespaces": notNil(e.OtherNamespaces), "owners": notNil(e.Owners),
		"namespaces": notNil(at.namespaces), "applications": notNil(at.applications),
		"cause": map[string]any{"group": e.Cause.Group, "kind": e.Cause.Kind, "namespace": e.Cause.Namespace, "name": e.Cause.Name},
		"file":  e.Origin.File, "line": int64(e.Origin.Line),
	}
}
