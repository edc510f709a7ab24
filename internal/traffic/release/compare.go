package release

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/inject"
)

// numbers are major and minor of a version.
func numbers(version string) (major, minor int) {
	a, rest, _ := strings.Cut(version, ".")
	b, _, _ := strings.Cut(rest, ".")
	major, _ = strconv.Atoi(a) // the pattern has let digits pass
	minor, _ = strconv.Atoi(b)
	return major, minor
}

// distance compares the minor of a version with that of the compiled one: -1
// older, 0 the same, 1 newer. An unknown version is the same.
func distance(version string) int {
	if version == "" {
		return 0
	}
	major, minor := numbers(version)
	m, n := numbers(Compiled)
	return cmp.Or(cmp.Compare(major, m), cmp.Compare(minor, n))
}

// another tells whether the model may be wrong about what runs.
func (i Installed) another() bool {
	return distance(i.Version) != 0 || i.Foreign
}

// Findings are about what objects run that is not what the model is of, one for
// each image. They are of severity Info: nothing is wrong with the mesh.
func Findings(objects []mizzen.Object) []mizzen.Finding {
	type kind struct {
		role  Role
		image string
	}
	at := map[kind]int{}
	more := map[kind]int{}
	var out []mizzen.Finding
	for _, i := range Of(objects) {
		k := kind{i.Role, i.Image}
		if !i.another() {
			continue
		}
		if _, seen := at[k]; seen {
			more[k]++
			continue
		}
		at[k] = len(out)
		out = append(out, i.finding())
	}
	for k, n := range more {
		out[at[k]].Message += fmt.Sprintf("; %d more of this image", n)
	}
	mizzen.SortFindings(out)
	return out
}

func (i Installed) finding() mizzen.Finding {
	f := mizzen.Finding{
		Code: mizzen.CodeAnotherIstio, Severity: mizzen.Info, Ref: i.Ref, Origin: i.Origin,
		Remedy: "use the Mizzen of the Istio that runs, or read its release notes beside the plan",
	}
	switch than := map[int]string{-1: "older", 1: "newer"}[distance(i.Version)]; {
	case i.Version == "":
		f.Message = fmt.Sprintf("%s run the image %s, of which nothing is known; effects and traces are those of Istio %s and its Envoy", i.who(), i.Image, Compiled)
		f.Remedy = "look in a cluster for tests whether what the plan says holds for this image"
	case i.Role == ControlPlane:
		f.Message = fmt.Sprintf("%s is Istio %s, %s than the Istio %s that effects and traces are computed with", i.who(), i.Version, than, Compiled)
	default:
		f.Message = fmt.Sprintf("%s are those of Istio %s, %s than the Istio %s that effects and traces are computed with", i.who(), i.Version, than, Compiled)
	}
	return f
}

// who is what runs an image, in words.
func (i Installed) who() string {
	switch {
	case i.Role == ControlPlane && i.Revision == inject.DefaultRevision:
		return "istiod"
	case i.Role == ControlPlane:
		return "istiod of revision " + i.Revision
	case i.Revision == inject.DefaultRevision:
		return "the proxies"
	case i.Revision != "":
		return "the proxies of revision " + i.Revision
	}
	return "the proxies of " + i.Ref.Namespace + "/" + i.Ref.Name
}

// is names a release.
func (i Installed) is() string {
	if i.Version == "" {
		return "image " + i.Image
	}
	return "Istio " + i.Version
}

// place is what an image is installed for.
type place struct {
	role     Role
	revision string
	ref      mizzen.Ref
}

// places tells what is installed where. A control plane is known by its
// revision, whatever its Deployment is called.
func places(objects []mizzen.Object) map[place]Installed {
	out := map[place]Installed{}
	for _, i := range Of(objects) {
		p := place{role: i.Role, revision: i.Revision}
		if i.Revision == "" {
			p.ref = i.Ref
		}
		if _, again := out[p]; !again {
			out[p] = i
		}
	}
	return out
}

// Effects says which releases of Istio become different: of control planes, of
// the proxies that they inject, of workloads with an image of their own, and of
// namespaces that move to another revision. What comes or goes as a whole
// counts if another revision stays.
func Effects(before, after []mizzen.Object) []mizzen.Effect {
	b, a := places(before), places(after)
	if len(b) == 0 || len(a) == 0 {
		return moves(before, after, b, a) // no mesh that is known, or one that comes or goes
	}
	var keys []place
	for p := range b {
		keys = append(keys, p)
	}
	for p := range a {
		if _, both := b[p]; !both {
			keys = append(keys, p)
		}
	}
	slices.SortFunc(keys, func(x, y place) int {
		return cmp.Or(cmp.Compare(x.role, y.role), cmp.Compare(x.revision, y.revision), mizzen.CompareRefs(x.ref, y.ref))
	})
	var out []mizzen.Effect
	for _, p := range keys {
		was, had := b[p]
		is, has := a[p]
		if e, ok := changed(was, is, had, has); ok {
			out = append(out, e)
		}
	}
	return append(out, moves(before, after, b, a)...)
}

// changed is the Effect of one place, if it has one.
func changed(was, is Installed, had, has bool) (e mizzen.Effect, ok bool) {
	switch {
	case had && has:
		e, ok = replaced(was, is)
	case has:
		e, ok = came(is)
	default:
		return went(was)
	}
	e.Subject, e.Cause, e.Origin = is.who(), is.Ref, is.Origin
	if is.another() {
		doubtful(&e)
	}
	return e, ok
}

func replaced(was, is Installed) (mizzen.Effect, bool) {
	e := notice("another release of Istio runs", was.is(), is.is())
	if was.Version == is.Version && was.Version != "" {
		e = notice("another build of the same release of Istio runs", was.Image, is.Image)
	}
	return e, was.Image != is.Image || was.Version != is.Version
}

// came tells of what is new. An injector comes with its control plane.
func came(is Installed) (mizzen.Effect, bool) {
	if is.Role == ControlPlane {
		return notice("another control plane comes beside the one there is", "", is.is()), true
	}
	return notice("an image of its own takes the place of the one that is injected", "", is.is()), is.Revision == ""
}

func went(was Installed) (mizzen.Effect, bool) {
	e := notice("the image that is injected takes the place of one of its own", was.is(), "")
	if was.Role == ControlPlane {
		e = notice("the control plane goes: the proxies of its revision get no more configuration", was.is(), "")
		e.Impact = mizzen.ImpactWarning
	}
	e.Subject, e.Cause, e.Origin = was.who(), was.Ref, was.Origin
	return e, was.Role == ControlPlane || was.Revision == ""
}

func notice(message, before, after string) mizzen.Effect {
	return mizzen.Effect{Code: mizzen.EffectVersion, Impact: mizzen.ImpactNotice, Message: message, Before: before, After: after}
}

// doubtful makes an Effect a warning: what comes to run is not what the model
// is of.
func doubtful(e *mizzen.Effect) {
	e.Impact = mizzen.ImpactWarning
	e.Message += "; effects are computed with Istio " + Compiled
}

// moves tells of namespaces whose new pods get the proxies of another release:
// they are marked for another revision, or the tag that they are marked with is
// another one's now.
func moves(before, after []mizzen.Object, b, a map[place]Installed) []mizzen.Effect {
	was, is := revisions(before), revisions(after)
	var out []mizzen.Effect
	for _, name := range slices.Sorted(maps.Keys(is)) {
		from, had := was[name]
		if to := is[name]; had && from.by.Revision != to.by.Revision {
			if e, ok := moved(from, to, b, a); ok {
				e.Subject = "namespace " + name
				out = append(out, e)
			}
		}
	}
	return out
}

// moved tells of one namespace; not ok if nothing is told.
func moved(from, to marked, b, a map[place]Installed) (mizzen.Effect, bool) {
	old, found := injected(b, from.by.Revision)
	next, has := injected(a, to.by.Revision)
	same := maps.Equal(from.namespace.GetLabels(), to.namespace.GetLabels())
	switch {
	case found && has && old.Image == next.Image:
		return mizzen.Effect{}, false
	case same && (!found || !has):
		return mizzen.Effect{}, false // who injects is known on one side only
	}
	e := notice("new pods belong to another revision of Istio", from.words()+runs(old, found), to.words()+runs(next, has))
	if !has {
		e.Impact = mizzen.ImpactWarning
		e.Message += ", of which nothing is known here: without its control plane they get no sidecar"
	}
	e.Cause, e.Origin = to.namespace.Ref(), to.namespace.Origins.Of(mizzen.Path("metadata.labels").Key(inject.RevisionLabel))
	if same && to.by.Ref.Kind != "" {
		e.Cause, e.Origin = to.by.Ref, to.by.Origin
	}
	if next.another() {
		doubtful(&e)
	}
	return e, true
}

// runs says what a revision is, if that is known.
func runs(i Installed, known bool) string {
	if !known {
		return ""
	}
	return ": " + i.is()
}

// injected is what the proxies of a revision run; where its injector is not
// there, as istiod does.
func injected(all map[place]Installed, revision string) (Installed, bool) {
	if i, ok := all[place{role: Proxies, revision: revision}]; ok {
		return i, true
	}
	i, ok := all[place{role: ControlPlane, revision: revision}]
	return i, ok
}

// marked is a namespace with injection, and who injects its pods.
type marked struct {
	namespace mizzen.Object
	by        inject.Injection
}

func (m marked) words() string {
	if m.by.Tag != "" {
		return m.by.Revision + ", by the tag " + m.by.Tag
	}
	return m.by.Revision
}

// revisions are the namespaces with injection, by name.
func revisions(objects []mizzen.Object) map[string]marked {
	injectors := inject.Of(objects)
	all := map[string]marked{}
	for _, o := range objects {
		if ref := o.Ref(); ref.Group != "" || ref.Kind != "Namespace" {
			continue
		}
		if by, ok := injectors.Namespace(o.GetName(), o.GetLabels()); ok {
			all[o.GetName()] = marked{o, by}
		}
	}
	return all
}
