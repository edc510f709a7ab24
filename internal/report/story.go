package report

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// short is a commit as people say it.
func short(commit string) string {
	if commit == "" {
		return "?"
	}
	return commit[:min(8, len(commit))]
}

// stop is where on its way a revision can end, by the reason of Synced.
var stop = map[string]string{
	v1alpha1.ReasonFetchFailed:          "cannot be fetched",
	v1alpha1.ReasonRepositoryNotFound:   "its repository does not exist",
	v1alpha1.ReasonRepositoryNotReady:   "not fetched yet",
	v1alpha1.ReasonRevisionNotFound:     "its revision does not exist",
	v1alpha1.ReasonInvalidSpec:          "the spec is refused",
	v1alpha1.ReasonRenderFailed:         "cannot be rendered",
	v1alpha1.ReasonEmptyRender:          "renders nothing",
	v1alpha1.ReasonValidationFailed:     "refused before the first write",
	v1alpha1.ReasonOwnedByAnother:       "refused: another application owns an object",
	v1alpha1.ReasonApplyFailed:          "cannot be applied",
	v1alpha1.ReasonForbidden:            "may not be applied",
	v1alpha1.ReasonTimeout:              "not ready in time",
	v1alpha1.ReasonClusterNotFound:      "its cluster does not exist",
	v1alpha1.ReasonClusterUnreachable:   "its cluster does not answer",
	v1alpha1.ReasonDependencyNotReady:   "waits for another application",
	v1alpha1.ReasonManualSync:           "planned, and waits for 'mizzen sync'",
	v1alpha1.ReasonAwaitingApproval:     "reviewed, and waits for approval",
	v1alpha1.ReasonDenied:               "denied by policy",
	v1alpha1.ReasonReviewFailed:         "cannot be reviewed",
	v1alpha1.ReasonDrifted:              "drifted",
	v1alpha1.ReasonTerminating:          "being deleted",
	v1alpha1.ReasonProgressing:          "under way",
	v1alpha1.ReasonFieldManagerConflict: "another field manager undoes it",
}

// waits are the stops that are no failure.
var waits = map[string]bool{
	v1alpha1.ReasonRepositoryNotReady: true, v1alpha1.ReasonDependencyNotReady: true, v1alpha1.ReasonManualSync: true,
	v1alpha1.ReasonAwaitingApproval: true,
	v1alpha1.ReasonProgressing:      true, v1alpha1.ReasonTerminating: true,
}

// story tells how far the newest revision came, and what runs if that is
// another one.
func story(app *v1alpha1.Application, s Status, now time.Time) []Step {
	synced := Condition(app.Status.Conditions, v1alpha1.ConditionSynced)
	steps := []Step{{Text: "Git " + short(tip(app, s))}}
	if len(app.Status.Conditions) == 0 {
		return append(steps, Step{Text: "not evaluated yet"})
	}
	if synced.Status == metav1.ConditionTrue {
		return append(steps, running(app, s, now)...)
	}
	text := stop[synced.Reason]
	if text == "" {
		text = synced.Reason
	}
	steps = append(steps, Step{Text: text, Failed: synced.Status == metav1.ConditionFalse && !waits[synced.Reason]})
	if s.Revision == "" {
		return append(steps, Step{Text: "nothing runs yet"})
	}
	return append(steps, Step{Text: fmt.Sprintf("still running %s%s", short(s.Revision), applied(s, now))}, lastHealth(app, synced.Status))
}

// lastHealth is the health of what runs; of a cluster that does not answer it
// is what it was.
func lastHealth(app *v1alpha1.Application, synced metav1.ConditionStatus) Step {
	step := health(app)
	if synced == metav1.ConditionUnknown {
		step.Text += " when last seen"
	}
	return step
}

// tip is the newest commit that is known of.
func tip(app *v1alpha1.Application, s Status) string {
	for _, commit := range []string{s.Source.Commit, app.Status.Attempted, s.Revision} {
		if commit != "" {
			return commit
		}
	}
	return ""
}

// running are the last steps of what is synced.
func running(app *v1alpha1.Application, s Status, now time.Time) []Step {
	var steps []Step
	switch {
	case s.Hold != nil:
		steps = append(steps, Step{Text: "held at " + short(s.Revision) + applied(s, now)})
	case s.Suspend:
		steps = append(steps, Step{Text: "suspended at " + short(s.Revision) + applied(s, now)})
	case s.Source.Commit != "" && s.Source.Commit != s.Revision:
		steps = append(steps, Step{Text: "planned"}, Step{Text: "nothing to do since " + short(s.Revision) + applied(s, now)})
	default:
		steps = append(steps, Step{Text: "planned"}, Step{Text: "applied" + since(s, now)})
	}
	return append(steps, health(app))
}

func applied(s Status, now time.Time) string {
	if s.Applied == nil {
		return ""
	}
	return ", applied " + Ago(now, *s.Applied)
}

func since(s Status, now time.Time) string {
	if s.Applied == nil {
		return ""
	}
	return " " + Ago(now, *s.Applied)
}

func health(app *v1alpha1.Application) Step {
	c := Condition(app.Status.Conditions, v1alpha1.ConditionHealthy)
	switch {
	case c.Status == metav1.ConditionTrue:
		return Step{Text: "healthy"}
	case c.Status == metav1.ConditionUnknown:
		return Step{Text: "health unknown"}
	case c.Reason == v1alpha1.ReasonProgressing:
		return Step{Text: "coming up"}
	}
	return Step{Text: "unhealthy", Failed: true}
}

// next is what somebody has to do, by the reason that is shown. What mends
// itself, or is said in the message already, has nothing here.
func next(s Status) string {
	app, repo := s.Name, s.Source.Repository
	switch s.Reason {
	case v1alpha1.ReasonRenderFailed, v1alpha1.ReasonValidationFailed:
		return fmt.Sprintf("correct it in Git: the next commit is tried at once.\n'mizzen lint %s' and 'mizzen plan %s' in a clone check it before the push.", s.Source.Path, app)
	case v1alpha1.ReasonApplyFailed, v1alpha1.ReasonTimeout, v1alpha1.ReasonDegraded:
		return fmt.Sprintf("look at 'mizzen tree %s' and 'mizzen events %s'; 'mizzen rollback %s' goes back to what worked.", app, app, app)
	case v1alpha1.ReasonForbidden:
		return "give the application's service account the permission, or name another one in spec.serviceAccountName; it is tried again."
	case v1alpha1.ReasonProgressing, v1alpha1.ReasonHealthUnknown:
		return fmt.Sprintf("nothing; 'mizzen status %s --wait' waits for it, 'mizzen tree %s' shows what is missing.", app, app)
	case v1alpha1.ReasonFetchFailed, v1alpha1.ReasonRepositoryNotFound, v1alpha1.ReasonRepositoryNotReady:
		return fmt.Sprintf("look at 'mizzen get repositories %s'.", repo)
	case v1alpha1.ReasonDependencyNotReady:
		return "see to that application; this one goes on by itself."
	case v1alpha1.ReasonClusterUnreachable, v1alpha1.ReasonClusterNotFound:
		return "look at 'mizzen get clusters'; it goes on by itself when the cluster answers."
	case v1alpha1.ReasonOwnedByAnother:
		return "remove the object from one of the two applications."
	case "":
		if s.State == Unknown {
			return "start a controller ('mizzen up'), or look at 'mizzen doctor'."
		}
	}
	return ""
}
