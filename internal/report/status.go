package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// Status explains one Application: how it is, why, and what to do next.
type Status struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	State     State  `json:"state"`
	// Story is how far the newest revision came, step by step.
	Story []Step `json:"story"`
	// Reason is that of the condition that keeps the Application from being
	// ready; Why is its message.
	Reason string `json:"reason,omitempty"`
	Why    string `json:"why,omitempty"`
	// Next is what to do; empty if nothing is.
	Next string `json:"next,omitempty"`
	// Ready, Synced and Healthy are the statuses of these conditions: True,
	// False or Unknown.
	Ready   metav1.ConditionStatus `json:"ready"`
	Synced  metav1.ConditionStatus `json:"synced"`
	Healthy metav1.ConditionStatus `json:"healthy"`
	// Revision is what runs, Applied when it was applied.
	Revision string     `json:"revision,omitempty"`
	Applied  *time.Time `json:"applied,omitempty"`
	Source   Source     `json:"source"`
	// Destination is "cluster/namespace"; in-cluster is the home cluster.
	Destination string `json:"destination"`
	// Objects is how many were applied; -1 if a part of the list was not read.
	Objects int            `json:"objects"`
	Hold    *v1alpha1.Hold `json:"hold,omitempty"`
	// Review is what the gate says of the newest revision.
	Review  *v1alpha1.ReviewStatus `json:"review,omitempty"`
	Suspend bool                   `json:"suspend,omitempty"`
	Warns   []string               `json:"warnings,omitempty"`
	Found   []string               `json:"findings,omitempty"`
	History []v1alpha1.SyncRecord  `json:"history,omitempty"`
}

// Source is where an Application comes from.
type Source struct {
	Repository string `json:"repository"`
	Path       string `json:"path"`
	// Revision is what is followed, Commit what it was last found at.
	Revision string `json:"revision,omitempty"`
	Commit   string `json:"commit,omitempty"`
}

// Step is one step of a revision's way into the cluster.
type Step struct {
	Text string `json:"text"`
	// Failed tells that the way ended here.
	Failed bool `json:"failed,omitempty"`
}

// StatusInput is what a Status is made from.
type StatusInput struct {
	Application *v1alpha1.Application
	// Repository is nil if it does not exist or may not be read.
	Repository *v1alpha1.Repository
	// Objects is the size of the inventory.
	Objects int
	// Uncontrolled tells that no controller holds its lease.
	Uncontrolled bool
	Now          time.Time
}

// lastSyncs is how many syncs a Status shows.
const lastSyncs = 5

// StatusOf explains an Application.
func StatusOf(in StatusInput) Status {
	app := in.Application
	c := app.Status.Conditions
	s := Status{
		Namespace: app.Namespace, Name: app.Name, State: stateOf(app),
		Ready:   statusOf(app, v1alpha1.ConditionReady),
		Synced:  statusOf(app, v1alpha1.ConditionSynced),
		Healthy: statusOf(app, v1alpha1.ConditionHealthy),

		Revision: app.Status.Revision, Objects: in.Objects, Hold: app.Spec.Hold, Suspend: app.Spec.Suspend,
		Review:      app.Status.Review,
		Source:      Source{Repository: app.Spec.Source.Repository, Path: app.Spec.Source.Path, Revision: app.Spec.Source.Revision},
		Destination: destination(app), Found: app.Status.Findings,
		History: app.Status.History[:min(len(app.Status.History), lastSyncs)],
	}
	if in.Repository != nil && s.Source.Revision == "" {
		s.Source.Revision, s.Source.Commit = in.Repository.Spec.Revision, in.Repository.Status.Revision
	}
	if at := appliedAt(app); !at.IsZero() {
		s.Applied = &at
	}
	s.Reason, s.Why = why(app, s)
	s.Next = next(s)
	s.Story = story(app, s, in.Now)
	s.Warns = warnings(in)
	if f := meta.FindStatusCondition(c, v1alpha1.ConditionFighting); f != nil && f.Status == metav1.ConditionTrue {
		s.Warns = append(s.Warns, f.Message)
	}
	return s
}

// statusOf is Unknown for what was said about an earlier spec.
func statusOf(app *v1alpha1.Application, kind string) metav1.ConditionStatus {
	if app.Status.ObservedGeneration != app.Generation {
		return metav1.ConditionUnknown
	}
	return Condition(app.Status.Conditions, kind).Status
}

func destination(app *v1alpha1.Application) string {
	cluster, namespace := app.Spec.Destination.Cluster, app.Spec.Destination.Namespace
	if cluster == "" {
		cluster = "in-cluster"
	}
	if namespace == "" {
		namespace = app.Namespace
	}
	return cluster + "/" + namespace
}

// appliedAt is when the revision that runs was applied.
func appliedAt(app *v1alpha1.Application) time.Time {
	for _, r := range app.Status.History {
		if r.Result == v1alpha1.SyncSucceeded && r.Revision == app.Status.Revision {
			return r.Started.Add(time.Duration(r.Milliseconds) * time.Millisecond)
		}
	}
	return time.Time{}
}

// why is the reason and the message of what keeps the Application from being
// ready.
func why(app *v1alpha1.Application, s Status) (reason, message string) {
	switch {
	case len(app.Status.Conditions) == 0:
		return v1alpha1.ReasonProgressing, "no controller has looked at it yet"
	case app.Status.ObservedGeneration != app.Generation:
		return v1alpha1.ReasonProgressing, "the spec has changed, and no controller has looked at it yet"
	case s.State == Ready:
		return "", ""
	case s.State == Held || s.State == Suspended:
		c := Condition(app.Status.Conditions, v1alpha1.ConditionSynced)
		return c.Reason, c.Message
	}
	c := Condition(app.Status.Conditions, v1alpha1.ConditionReady)
	return c.Reason, c.Message
}

func warnings(in StatusInput) []string {
	var warns []string
	if in.Uncontrolled {
		warns = append(warns, "no controller runs, so this is what the last one left; start one with 'mizzen up'")
	}
	repo := in.Repository
	if repo == nil {
		return warns
	}
	if repo.Spec.Suspend {
		warns = append(warns, "repository "+repo.Name+" is suspended: new commits are not seen")
	} else if ready := Condition(repo.Status.Conditions, v1alpha1.ConditionReady); ready.Status == metav1.ConditionFalse {
		warns = append(warns, fmt.Sprintf("repository %s cannot be fetched (since %s): %s",
			repo.Name, Ago(in.Now, ready.LastTransitionTime.Time), ready.Message))
	}
	return warns
}

// StatusText writes a Status for a terminal.
func StatusText(out io.Writer, s Status, now time.Time, style Style) error {
	w := &printer{w: out}
	w.printf("%s  %s\n", style.paint(bold, s.Namespace+"/"+s.Name), style.state(s.State))
	w.printf("  %s\n", style.story(s.Story))
	if s.Why != "" {
		w.printf("\n  %s\n", style.paint(bold, "why"))
		w.block("    ", s.Why)
	}
	if s.Next != "" {
		w.printf("\n  %s\n", style.paint(bold, "next"))
		w.block("    ", s.Next)
	}
	if s.Review != nil && (s.Review.Revision != s.Revision || s.Review.Gate == v1alpha1.GateReport) {
		w.printf("\n  %s\n", style.paint(bold, "gate"))
		w.gate(s.Review, style, "    ")
	}
	for _, warn := range s.Warns {
		w.printf("\n  %s %s\n", style.paint(yellow, "warning:"), warn)
	}
	w.printf("\n  source       %s, path %s%s\n", s.Source.Repository, s.Source.Path, followed(s.Source.Revision))
	w.printf("  destination  %s\n", s.Destination)
	if s.Objects >= 0 {
		w.printf("  objects      %d\n", s.Objects)
	}
	if len(s.Found) > 0 {
		w.printf("\n  %s\n", style.paint(bold, "findings"))
		for _, f := range s.Found {
			w.printf("    %s\n", f)
		}
	}
	if len(s.History) > 0 {
		w.printf("\n  %s\n", style.paint(bold, "last syncs"))
		writeHistory(w, s.History, now, style, "    ", false)
	}
	return w.err
}

func followed(revision string) string {
	if revision == "" {
		return ""
	}
	return ", at " + revision
}

// StatusLine is a Status on one line, for a stream of them.
func StatusLine(out io.Writer, s Status, now time.Time, style Style) error {
	w := &printer{w: out}
	w.printf("%s  %s  %s", style.paint(faint, now.Format(time.TimeOnly)), style.state(s.State), style.story(s.Story))
	if s.Why != "" {
		w.printf(": %s", s.Why)
	}
	w.printf("\n")
	return w.err
}

func (s Style) story(steps []Step) painted {
	parts := make([]string, 0, len(steps))
	for _, step := range steps {
		text := string(s.paint("0", step.Text))
		if step.Failed {
			text = string(s.paint(red, "✗ "+step.Text))
		}
		parts = append(parts, text)
	}
	return painted(strings.Join(parts, " → "))
}
