package effect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// found is an Effect before it is merged with those that say the same of other
// callers or other ports.
type found struct {
	code    mizzen.EffectCode
	impact  mizzen.Impact
	subject string
	// subjects replace subject for what may hit many workloads at once: these
	// are told together if everything else is the same.
	subjects []string
	// noun is what subjects are, where they are too many to be named; "" means
	// workloads.
	noun string
	// namespace is that of the subject: callers of others stand out.
	namespace     string
	message       string
	before, after string
	callers       []string
	// from are further callers, some of whom may not be known yet.
	from []*peers
	// parts are what the message says in brackets, such as ports.
	parts   []string
	cause   cause
	witness *mizzen.Witness
	// shown is what the witness sees, where that is not before and after.
	shown [2]string
	// group keeps apart what is told together only within it.
	group string
}

// collector merges what several proxies tell of one change.
type collector struct {
	c     *comparison
	order []string
	byKey map[string]*found
	// told are the codes and subjects that were found.
	told map[string]bool
	// doubtful are those that another one may make needless.
	doubtful []doubtful
}

func newCollector(c *comparison) *collector {
	return &collector{c: c, byKey: map[string]*found{}, told: map[string]bool{}}
}

func (o *collector) add(f found) {
	if o.c.invented(f) {
		return
	}
	key := strings.Join([]string{string(f.code), f.subject, f.message, f.before, f.after, f.cause.ref.String(), f.cause.origin.String(), f.group}, "\x00")
	o.told[string(f.code)+f.subject+strings.Join(f.subjects, "")] = true
	have := o.byKey[key]
	if have == nil {
		// They grow here, and others hold them too.
		f.callers, f.from, f.parts, f.subjects = slices.Clone(f.callers), slices.Clone(f.from), slices.Clone(f.parts), slices.Clone(f.subjects)
		o.byKey[key] = &f
		o.order = append(o.order, key)
		return
	}
	have.callers = append(have.callers, f.callers...)
	have.from = append(have.from, f.from...)
	have.parts = append(have.parts, f.parts...)
	have.subjects = append(have.subjects, f.subjects...)
	if have.witness == nil {
		have.witness = f.witness
	}
}

// invented tells whether it is about the host of a gateway that stands in for one
// from elsewhere: whether that comes or goes, nobody here knows.
func (c *comparison) invented(f found) bool {
	if f.code != mizzen.EffectHostAdded && f.code != mizzen.EffectHostRemoved || len(f.subjects) != 1 {
		return false
	}
	name, namespace, _ := strings.Cut(withoutPort(f.subjects[0]), ".")
	for _, s := range []*side{c.before, c.after} {
		if p := s.proxies[namespace+"/"+name]; p != nil && p.Workload.Elsewhere {
			return true
		}
	}
	return false
}

// doubtful is an effect that says nothing new where one of another code is told
// of a subject.
type doubtful struct {
	found
	unless  mizzen.EffectCode
	subject string
}

// addUnless adds an effect when all proxies were compared, unless one of a code
// is told of a subject by then.
func (o *collector) addUnless(unless mizzen.EffectCode, subject string, f found) {
	o.doubtful = append(o.doubtful, doubtful{f, unless, subject})
}

// settle decides about what was doubtful.
func (o *collector) settle() {
	for _, d := range o.doubtful {
		if !o.tells(d.unless, d.subject) {
			o.add(d.found)
		}
	}
	o.doubtful = nil
}

// tells reports whether an effect of the code has been found for the subject.
func (o *collector) tells(code mizzen.EffectCode, subject string) bool {
	return o.told[string(code)+subject]
}

// effects returns what was found, sorted, the worst first.
func (o *collector) effects() []mizzen.Effect {
	everyone := o.c.everyone()
	out := make([]mizzen.Effect, 0, len(o.order))
	for _, key := range o.order {
		out = append(out, o.byKey[key].effect(everyone))
	}
	mizzen.SortEffects(out)
	return out
}

func (f *found) effect(everyone []string) mizzen.Effect {
	e := mizzen.Effect{
		Code: f.code, Impact: f.impact, Subject: f.subject, Message: f.message, Before: f.before, After: f.after,
		Cause: f.cause.ref, Origin: f.cause.origin, Witness: f.witness,
	}
	parts := distinct(f.parts)
	if len(f.subjects) > 0 {
		names := distinct(f.subjects)
		if e.Subject = f.together(names); len(names) > few {
			parts = append(parts, list(names, 6))
		}
	}
	if len(parts) > 0 {
		e.Message += " (" + list(parts, 6) + ")"
	}
	e.Callers = f.everybody()
	if e.OtherNamespaces = foreigners(e.Callers, f.namespace); len(e.OtherNamespaces) > 0 {
		also := "; also for"
		if !slices.ContainsFunc(e.Callers, func(caller string) bool { return namespaceOfWorkload(caller) == f.namespace }) {
			also = "; for"
		}
		e.Message += also + " callers in other namespaces: " + list(e.OtherNamespaces, 4)
	}
	if len(everyone) > 1 && contains(e.Callers, everyone) {
		e.Callers = []string{"*"}
	}
	return e
}

// everybody are the callers, each once, now that they are known.
func (f *found) everybody() []string {
	out := slices.Clone(f.callers)
	seen := map[*peers]bool{}
	for _, p := range f.from {
		if !seen[p] {
			seen[p] = true
			out = append(out, p.names...)
		}
	}
	return distinct(out)
}

// contains tells whether all of some names are among others, both as distinct
// returns them.
func contains(names, all []string) bool {
	i := 0
	for _, name := range names {
		if i < len(all) && all[i] == name {
			i++
		}
	}
	return i == len(all)
}

// few is how many workloads a subject names one by one.
const few = 3

// together names several workloads or hosts as one subject.
func (f *found) together(names []string) string {
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	if f.noun != "" {
		return fmt.Sprintf("%d %s", len(names), f.noun)
	}
	var in []string
	for _, n := range names {
		in = append(in, namespaceOfWorkload(n))
	}
	if in = distinct(in); len(in) > few {
		return fmt.Sprintf("%d workloads of %d namespaces", len(names), len(in))
	}
	return fmt.Sprintf("%d workloads of %s", len(names), strings.Join(in, ", "))
}

// foreigners returns the namespaces of callers other than the subject's own.
func foreigners(callers []string, namespace string) []string {
	if namespace == "" {
		return nil
	}
	var out []string
	for _, caller := range callers {
		if ns, _, ok := strings.Cut(caller, "/"); ok && ns != namespace {
			out = append(out, ns)
		}
	}
	return distinct(out)
}

// scope makes one of the many hosts that a Sidecar's list shows or hides: their
// destinations are not what changes.
func (f *found) scope() {
	switch {
	case f.cause.ref.Kind != "Sidecar":
	case f.code == mizzen.EffectHostRemoved:
		f.before = "known"
	case f.code == mizzen.EffectHostAdded:
		f.after = "known"
	}
}

// everyone returns the names of all workloads with a proxy on both sides. A workload
// whose proxy was not compiled, since the change is not about it, counts too.
func (c *comparison) everyone() []string {
	had := map[string]bool{}
	for _, w := range c.before.Workloads {
		had[w.Name] = w.Sidecar
	}
	var out []string
	for _, w := range c.after.Workloads {
		p := c.after.proxies[w.Name]
		sidecar := w.Sidecar && had[w.Name] && (p == nil || p.Role == traffic.Sidecar)
		tunnel := p != nil && p.Role == traffic.Ztunnel && c.before.proxies[w.Name] != nil
		if sidecar || tunnel {
			out = append(out, w.Name)
		}
	}
	return distinct(out)
}

// distinct returns the elements sorted and each once.
func distinct(elements []string) []string {
	out := slices.Clone(elements)
	slices.SortFunc(out, natural)
	return slices.Compact(out)
}

// natural orders numbers by their value and the rest by bytes.
func natural(a, b string) int {
	if digits(a) && digits(b) {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	}
	return cmp.Compare(a, b)
}

func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// list joins at most n elements and says how many there are besides.
func list(elements []string, n int) string {
	if len(elements) <= n {
		return strings.Join(elements, ", ")
	}
	return strings.Join(elements[:n], ", ") + fmt.Sprintf(" and %d more", len(elements)-n)
}
