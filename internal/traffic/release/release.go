// Package release tells which releases of Istio a set of objects runs, and says
// so where it is another one than the release that Mizzen compiles with: the
// same objects may mean something else there.
//
// Rendered objects come in, Findings and Effects go out. It is pure, and links
// nothing of Istio.
package release

import (
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/inject"
)

// Compiled is the release of Istio whose code Mizzen is built with. Its
// proxies are the Envoy that the model is of.
const Compiled = "1.31.0"

// Envoy is the minor release of Envoy that package match follows. test/oracle
// holds the two beside each other.
const Envoy = "1.40"

// Role is what an image is run for.
type Role string

// The roles of Istio's images.
const (
	ControlPlane Role = "istiod"
	Proxies      Role = "proxies"
)

// Installed is one image of Istio that objects have run.
type Installed struct {
	Role Role
	// Revision is that of a control plane and of the proxies that it injects,
	// such as "default"; empty for the proxies of one workload.
	Revision string
	// Image is as it is written, with its tag. Version is "1.31.0" or "1.31"
	// where the image or its labels tell, else empty.
	Image, Version string
	// Foreign tells that a proxy's image is none of Istio's by its name.
	Foreign bool
	// Ref is the object that names the image, Origin the line.
	Ref    mizzen.Ref
	Origin mizzen.Origin
}

// Of returns what objects install, sorted by role, revision and object.
func Of(objects []mizzen.Object) []Installed {
	var all []Installed
	for _, o := range objects {
		switch ref := o.Ref(); {
		case ref.Group == "" && ref.Kind == "ConfigMap":
			all = append(all, injector(o)...)
		case ref.Group == "apps" && ref.Kind == "Deployment" && o.GetLabels()["app"] == "istiod":
			all = append(all, controlPlane(o)...)
		default:
			all = append(all, workload(o)...)
		}
	}
	slices.SortStableFunc(all, func(a, b Installed) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Revision, b.Revision), mizzen.CompareRefs(a.Ref, b.Ref), cmp.Compare(a.Image, b.Image))
	})
	return all
}

// controlPlane reads the image of istiod.
func controlPlane(o mizzen.Object) []Installed {
	const list = mizzen.Path("spec.template.spec.containers")
	containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers") // what is no list names no image
	for i, c := range containers {
		container, _ := c.(map[string]any)
		image, _ := container["image"].(string)
		if name, _ := container["name"].(string); image == "" || name != "discovery" && len(containers) > 1 {
			continue
		}
		in := Installed{
			Role: ControlPlane, Revision: cmp.Or(o.GetLabels()[inject.RevisionLabel], inject.DefaultRevision), Image: image,
			Version: cmp.Or(versionOf(image), chartVersion(o)), Ref: o.Ref(), Origin: o.Origins.Of(list.Index(i).Key("image")),
		}
		return []Installed{in}
	}
	return nil
}

// chartVersion is the version in the labels of Istio's charts. 1.0.0 is what stands
// in Istio's repository, where no release has written its own.
func chartVersion(o mizzen.Object) string {
	labels := o.GetLabels()
	for _, text := range []string{labels["app.kubernetes.io/version"], strings.TrimPrefix(labels["helm.sh/chart"], "istiod-")} {
		if v := versionIn(text); v != "" && v != "1.0.0" {
			return v
		}
	}
	return ""
}

// injectorName is the ConfigMap by which istiod injects proxies, but for its
// revision.
const injectorName = "istio-sidecar-injector"

// maxValues bounds the values of the injector that are read, in bytes.
const maxValues = 1 << 20

// injector reads the image that a control plane injects.
func injector(o mizzen.Object) []Installed {
	if !strings.HasPrefix(o.GetName(), injectorName) {
		return nil
	}
	text, _, _ := unstructured.NestedString(o.Object, "data", "values") // what is no text has no values
	var values struct {
		Global struct {
			Hub   string `json:"hub"`
			Tag   any    `json:"tag"`
			Proxy struct {
				Image string `json:"image"`
			} `json:"proxy"`
		} `json:"global"`
		Revision string `json:"revision"`
	}
	if len(text) > maxValues || json.Unmarshal([]byte(text), &values) != nil {
		return nil // istiod says what is wrong with it
	}
	image := cmp.Or(values.Global.Proxy.Image, "proxyv2")
	if tag, _ := values.Global.Tag.(string); !strings.Contains(image, "/") {
		if tag == "" {
			return nil
		}
		image = strings.TrimPrefix(values.Global.Hub+"/"+image+":"+tag, "/")
	}
	revision := cmp.Or(values.Revision, o.GetLabels()[inject.RevisionLabel], inject.DefaultRevision)
	return []Installed{proxies(image, revision, o, "data.values")}
}

func proxies(image, revision string, o mizzen.Object, path mizzen.Path) Installed {
	i := Installed{
		Role: Proxies, Revision: revision, Image: image, Version: versionOf(image), Foreign: !istios(image), Ref: o.Ref(), Origin: o.Origins.Of(path),
	}
	if i.Foreign {
		i.Version = "" // the tag counts something else
	}
	return i
}

// templates says where the pod is described, by kind.
var templates = map[string][]string{
	"Deployment": {"spec", "template"}, "StatefulSet": {"spec", "template"}, "DaemonSet": {"spec", "template"},
	"ReplicaSet": {"spec", "template"}, "ReplicationController": {"spec", "template"}, "Rollout": {"spec", "template"},
	"Job": {"spec", "template"}, "CronJob": {"spec", "jobTemplate", "spec", "template"}, "Pod": {},
}

// imageAnnotation names the image of one workload's proxies.
const imageAnnotation = "sidecar.istio.io/proxyImage"

// workload reads the image that a workload asks for, or that was put into it by
// hand.
func workload(o mizzen.Object) []Installed {
	at, known := templates[o.GetKind()]
	if !known {
		return nil
	}
	path := mizzen.Path(strings.Join(at, "."))
	image, found, _ := unstructured.NestedString(o.Object, append(slices.Clone(at), "metadata", "annotations", imageAnnotation)...)
	if found && image != "" {
		return []Installed{proxies(image, "", o, path.Key("metadata").Key("annotations").Key(imageAnnotation))}
	}
	for _, field := range []string{"containers", "initContainers"} {
		containers, _, _ := unstructured.NestedSlice(o.Object, append(slices.Clone(at), "spec", field)...)
		for i, c := range containers {
			container, _ := c.(map[string]any)
			image, _ := container["image"].(string)
			// "auto" is what the injector replaces.
			if container["name"] == "istio-proxy" && image != "" && image != "auto" {
				return []Installed{proxies(image, "", o, path.Key("spec").Key(field).Index(i).Key("image"))}
			}
		}
	}
	return nil
}

// parts are repository and tag of an image without its digest.
func parts(image string) (repository, tag string) {
	image, _, _ = strings.Cut(image, "@")
	slash := strings.LastIndex(image, "/")
	if colon := strings.LastIndex(image, ":"); colon > slash {
		return image[:colon], image[colon+1:]
	}
	return image, ""
}

// istios tells whether an image is Istio's proxy by its name.
func istios(image string) bool {
	repository, _ := parts(image)
	return strings.HasPrefix(repository[strings.LastIndex(repository, "/")+1:], "proxyv2")
}

// versionOf is the version that the tag of an image says.
func versionOf(image string) string {
	_, tag := parts(image)
	return versionIn(tag)
}

var versionPattern = regexp.MustCompile(`^v?([1-9]\d{0,3}\.\d{1,4}(?:\.\d{1,4})?)(?:[-_.+].*)?$`)

// versionIn reads "1.31.0-distroless" and such.
func versionIn(text string) string {
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return m[1]
}
