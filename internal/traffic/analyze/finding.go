package analyze

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"istio.io/istio/pkg/config/analysis/diag"

	"mizzen.dev/mizzen"
)

// findings turns the messages of the last run into Findings. A message about an
// object that is not judged, or that a rule calls wrong, is left out.
func (c *catalog) findings() []mizzen.Finding {
	var findings []mizzen.Finding
	for _, m := range c.messages {
		if m.Resource == nil {
			continue
		}
		o, ok := m.Resource.Origin.(*origin)
		if !ok || !o.of.judged {
			continue
		}
		said := claim{code: m.Type.Code(), about: o.of, detail: texts(m.Parameters)}
		if c.holds(said) {
			findings = append(findings, c.finding(m, said, o))
		}
	}
	return findings
}

func texts(parameters []any) []string {
	list := make([]string, len(parameters))
	for i, p := range parameters {
		list[i] = settled(fmt.Sprint(p))
	}
	return list
}

// unordered are messages of Istio's validation that name several things in the
// order of a map, another one each time: what begins them, and what is between
// the things.
var unordered = []struct{ before, between, after string }{
	{"using deprecated type_url(s); ", ", ", ""},
	{"using deprecated types by name without typed_config; ", ", ", ""},
	{`authority header cannot be set multiple times: have "`, `", attempting to set "`, `"`},
}

// settled puts such a list in order.
func settled(message string) string {
	for _, u := range unordered {
		list, ok := strings.CutPrefix(message, u.before)
		if list, end := strings.CutSuffix(list, u.after); ok && end {
			names := strings.Split(list, u.between)
			slices.Sort(names)
			return u.before + strings.Join(names, u.between) + u.after
		}
	}
	return message
}

func (c *catalog) finding(m diag.Message, said claim, o *origin) mizzen.Finding {
	object := said.about.object
	f := mizzen.Finding{
		Code: mizzen.Code(said.code), Severity: severityOf(m.Type), Remedy: remedies[said.code],
		Ref: object.Ref(), Path: o.path(m.Line),
		Message: sentence(fmt.Sprintf(m.Type.Template(), m.Parameters...)),
	}
	if said.code == "IST0106" || said.code == "IST0133" {
		f.Message = sentence(said.param(0))
	}
	if f.Path == "" {
		f.Path = c.field(said)
	}
	f.Origin = object.Origins.At(f.Path)
	return f
}

// severityOf is what a message means to a sync. Istio's level Error is a
// Warning here, since the API server takes the object and the mesh goes on;
// only what istiod's webhook refuses stops a sync.
func severityOf(m *diag.MessageType) mizzen.Severity {
	switch {
	case m.Code() == "IST0106":
		return mizzen.Fatal
	case m.Level() == diag.Info:
		return mizzen.Info
	}
	return mizzen.Warning
}

// sentence makes the message one sentence in the form of Findings: without the
// stop and the advice after it, for which there is the remedy.
func sentence(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	for i := 0; ; {
		at := strings.Index(s[i:], ". ")
		if at < 0 {
			break
		}
		i += at + 2
		if next, _ := utf8.DecodeRuneInString(s[i:]); unicode.IsUpper(next) {
			s = s[:i-2]
			break
		}
	}
	s = strings.TrimSuffix(s, ".")
	first, size := utf8.DecodeRuneInString(s)
	second, _ := utf8.DecodeRuneInString(s[size:])
	word, _, _ := strings.Cut(s, " ")
	if unicode.IsUpper(first) && unicode.IsLower(second) && strings.ToLower(word[1:]) == word[1:] && !isKind[word] {
		s = string(unicode.ToLower(first)) + s[size:]
	}
	return s
}

// isKind are words that stay as they are at the beginning of a message.
var isKind = map[string]bool{"Gateway": true, "Istio": true, "Kubernetes": true}

// fields say where to look when an analyzer does not: a path, in which a
// parameter of the message may stand for a key.
var fields = map[string]func(m claim) mizzen.Path{
	"IST0107": annotation, "IST0108": annotation, "IST0125": annotation, "IST0135": annotation, "IST0136": annotation,
	"IST0102": at("metadata.labels"), "IST0123": at("metadata.labels"),
	"IST0109": at("spec.hosts"), "IST0127": at("spec.selector"), "IST0145": at("spec.servers"), "IST0174": at("spec.host"),
	"IST0128": at("spec.trafficPolicy.tls"), "IST0134": at("spec.addresses"),
	"IST0130": ruleOf, "IST0131": ruleOf,
}

func at(p mizzen.Path) func(claim) mizzen.Path { return func(claim) mizzen.Path { return p } }

func annotation(m claim) mizzen.Path {
	return m.about.template.Key("metadata").Key("annotations").Key(m.param(0))
}

// ruleOf finds the route that a message calls #0 or by its name.
func ruleOf(m claim) mizzen.Path {
	for _, list := range []string{"http", "tls", "tcp"} {
		in := mizzen.Path("spec").Key(list)
		found, _ := in.Lookup(m.about.object.Object)
		routes, _ := found.([]any)
		for i, route := range routes {
			name, _ := mizzen.Path("name").Lookup(route)
			if m.param(0) == "#"+strconv.Itoa(i) || name != nil && strings.Contains(m.param(0), fmt.Sprintf("%q", name)) {
				return in.Index(i)
			}
		}
	}
	return ""
}

// field returns the field that a message is about, "" if that is not known or
// the object does not have it.
func (c *catalog) field(m claim) mizzen.Path {
	var p mizzen.Path
	switch find := fields[m.code]; {
	case m.code == "IST0106" || m.code == "IST0133":
		p = c.blame(m)
	case find != nil:
		p = find(m)
	}
	for p != "" {
		if _, ok := p.Lookup(m.about.object.Object); ok {
			return p
		}
		p = p.Parent()
	}
	return ""
}
