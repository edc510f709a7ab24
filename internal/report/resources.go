package report

import (
	"cmp"
	"io"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// Resource is one of Mizzen's own objects in a list. Fields that its kind does
// not have are empty.
type Resource struct {
	// Kind is application, repository or cluster.
	Kind      string                 `json:"kind"`
	Namespace string                 `json:"namespace"`
	Name      string                 `json:"name"`
	State     State                  `json:"state"`
	Ready     metav1.ConditionStatus `json:"ready"`
	Reason    string                 `json:"reason,omitempty"`
	// Message says why the state is what it is; empty if all is well.
	Message string `json:"message,omitempty"`
	// Revision is what runs, or what a Repository was last found at.
	Revision string `json:"revision,omitempty"`
	// Changed is when an Application was last applied, and for others since
	// when the state is what it is.
	Changed *time.Time `json:"changed,omitempty"`
	// URL is a Repository's, without a password.
	URL string `json:"url,omitempty"`
	// Version is a Cluster's.
	Version string `json:"version,omitempty"`
	// Source is an Application's, as "repository/path".
	Source string `json:"source,omitempty"`
}

// Resources is a list, the worst first.
type Resources struct {
	Items []Resource `json:"items"`
}

// ApplicationResource is an Application in a list.
func ApplicationResource(app *v1alpha1.Application) Resource {
	r := Resource{
		Kind: "application", Namespace: app.Namespace, Name: app.Name, State: stateOf(app),
		Ready: statusOf(app, v1alpha1.ConditionReady), Revision: app.Status.Revision,
		Source: app.Spec.Source.Repository + "/" + app.Spec.Source.Path,
	}
	r.Reason, r.Message = why(app, Status{State: r.State})
	if at := appliedAt(app); !at.IsZero() {
		r.Changed = &at
	}
	return r
}

// RepositoryResource is a Repository in a list. url is that of its spec as it
// may be shown.
func RepositoryResource(repo *v1alpha1.Repository, url string) Resource {
	r := readyResource("repository", repo, repo.Status.Conditions, repo.Status.ObservedGeneration)
	r.Revision, r.URL = repo.Status.Revision, url
	if repo.Spec.Suspend {
		r.State, r.Reason, r.Message = Suspended, v1alpha1.ReasonSuspended, "suspended (spec.suspend)"
	}
	return r
}

// ClusterResource is a Cluster in a list.
func ClusterResource(c *v1alpha1.Cluster) Resource {
	r := readyResource("cluster", c, c.Status.Conditions, c.Status.ObservedGeneration)
	r.Version = c.Status.Version
	return r
}

func readyResource(kind string, o metav1.Object, conditions []metav1.Condition, observed int64) Resource {
	ready := Condition(conditions, v1alpha1.ConditionReady)
	r := Resource{
		Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName(),
		State: readyState(conditions, observed == o.GetGeneration()), Ready: ready.Status, Reason: ready.Reason,
	}
	if r.State != Ready {
		r.Message = ready.Message
	}
	if meta.FindStatusCondition(conditions, v1alpha1.ConditionReady) != nil {
		r.Changed = &ready.LastTransitionTime.Time
	}
	return r
}

// SortResources puts the worst first, in place, and the same state by name.
func SortResources(items []Resource) {
	slices.SortFunc(items, func(a, b Resource) int {
		return cmp.Or(CompareStates(a.State, b.State), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// ResourceTable says which columns a list has.
type ResourceTable struct {
	// Kind is application, repository or cluster.
	Kind string
	// Namespaces adds the column of the namespace.
	Namespaces bool
	// Headless leaves the heading out.
	Headless bool
}

// ResourcesText writes a list for a terminal.
func ResourcesText(out io.Writer, items []Resource, t ResourceTable, now time.Time, s Style) error {
	w := &printer{w: out}
	var rows table
	var heading []any
	if t.Namespaces {
		heading = append(heading, "NAMESPACE")
	}
	heading = append(heading, "NAME", "STATE")
	heading = append(heading, map[string][]any{
		"application": {"REVISION", "APPLIED", "WHY"},
		"repository":  {"REVISION", "SINCE", "URL", "WHY"},
		"cluster":     {"VERSION", "SINCE", "WHY"},
	}[t.Kind]...)
	if !t.Headless {
		rows.add(heading...)
	}
	for _, r := range items {
		var row []any
		if t.Namespaces {
			row = append(row, r.Namespace)
		}
		rows.add(append(append(row, s.paint(bold, r.Name), s.state(r.State)), r.columns(t.Kind, now)...)...)
	}
	rows.write(w)
	return w.err
}

func (r Resource) columns(kind string, now time.Time) []any {
	changed := "never"
	if r.Changed != nil {
		changed = Ago(now, *r.Changed)
	}
	revision := ""
	if r.Revision != "" {
		revision = short(r.Revision)
	}
	switch kind {
	case "repository":
		return []any{revision, changed, r.URL, r.Message}
	case "cluster":
		return []any{r.Version, changed, r.Message}
	}
	return []any{revision, changed, r.Message}
}
