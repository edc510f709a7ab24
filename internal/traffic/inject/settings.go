package inject

import (
	"cmp"
	"encoding/json"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
)

// ConfigMap is the name of that by which istiod injects proxies; one of a
// revision has the revision behind it.
const ConfigMap = "istio-sidecar-injector"

// maxText bounds what is read of such a ConfigMap, in bytes.
const maxText = 1 << 20

// Configures tells whether an object of this identity may hold the settings of
// an injector.
func Configures(r mizzen.Ref) bool {
	return r.Group == "" && r.Kind == "ConfigMap" && (r.Name == ConfigMap || strings.HasPrefix(r.Name, ConfigMap+"-"))
}

// Capture says which connections of a pod its iptables lead to the proxy, as
// the annotations and values of Istio's chart of these names do.
// https://istio.io/latest/docs/reference/config/annotations/
type Capture struct {
	IncludeInboundPorts  string `json:"includeInboundPorts"`
	ExcludeInboundPorts  string `json:"excludeInboundPorts"`
	IncludeIPRanges      string `json:"includeIPRanges"`
	ExcludeIPRanges      string `json:"excludeIPRanges"`
	IncludeOutboundPorts string `json:"includeOutboundPorts"`
	ExcludeOutboundPorts string `json:"excludeOutboundPorts"`
}

// Everything is what an injector takes unless told otherwise.
var Everything = Capture{IncludeInboundPorts: "*", IncludeIPRanges: "*"}

// Settings are those of the injector of one revision.
type Settings struct {
	Capture Capture
	// disabled: only pods that ask for a proxy get one.
	disabled bool
	// never and always are the pods that say nothing, and get none or one.
	never, always []labels.Selector
}

// Decides says whether pods with these labels, which say nothing about it, get
// a proxy of a webhook that is asked about them.
func (s Settings) Decides(pod map[string]string) bool {
	for _, list := range []struct {
		selectors []labels.Selector
		answer    bool
	}{{s.never, false}, {s.always, true}} {
		for _, selector := range list.selectors {
			if !selector.Empty() && selector.Matches(labels.Set(pod)) {
				return list.answer
			}
		}
	}
	return !s.disabled
}

// Installations are the settings of a mesh's injectors.
type Installations struct{ byRevision map[string]Settings }

// SettingsOf reads them from objects. What cannot be read, of which istiod says
// what is wrong with it, is as if it were not there.
func SettingsOf(objects []mizzen.Object) Installations {
	in := Installations{byRevision: map[string]Settings{}}
	for _, o := range objects {
		if !Configures(o.Ref()) {
			continue
		}
		revision := cmp.Or(o.GetLabels()[RevisionLabel], strings.TrimPrefix(strings.TrimPrefix(o.GetName(), ConfigMap), "-"), DefaultRevision)
		in.byRevision[revision] = settings(o)
	}
	return in
}

// Of returns the settings of a revision. Where that may be the name of a tag and
// there is but one injector, they are that one's.
func (in Installations) Of(revision string) Settings {
	if s, ok := in.byRevision[cmp.Or(revision, DefaultRevision)]; ok {
		return s
	}
	if len(in.byRevision) == 1 {
		for _, s := range in.byRevision {
			return s
		}
	}
	return Settings{Capture: Everything}
}

func settings(o mizzen.Object) Settings {
	values := struct {
		Global struct {
			Proxy Capture `json:"proxy"`
		} `json:"global"`
	}{}
	values.Global.Proxy = Everything
	if text := data(o, "values"); text == "" || json.Unmarshal([]byte(text), &values) != nil {
		values.Global.Proxy = Everything
	}
	s := Settings{Capture: values.Global.Proxy}
	var config struct {
		Policy string                 `json:"policy"`
		Never  []metav1.LabelSelector `json:"neverInjectSelector"`
		Always []metav1.LabelSelector `json:"alwaysInjectSelector"`
	}
	// The templates beside them are long, and no concern of ours.
	if text, _, _ := strings.Cut(data(o, "config"), "\ntemplates:"); yaml.Unmarshal([]byte(text), &config) == nil {
		s.disabled, s.never, s.always = config.Policy == "disabled", selectors(config.Never), selectors(config.Always)
	}
	return s
}

func data(o mizzen.Object, key string) string {
	text, _, _ := unstructured.NestedString(o.Object, "data", key) // what is no text says nothing
	if len(text) > maxText {
		return ""
	}
	return text
}

func selectors(list []metav1.LabelSelector) (out []labels.Selector) {
	for i := range list {
		if s, err := metav1.LabelSelectorAsSelector(&list[i]); err == nil {
			out = append(out, s)
		}
	}
	return out
}
