package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/report"
)

// rollbackOptions are the flags of rollback.
type rollbackOptions struct {
	reason  string
	yes     bool
	timeout time.Duration
}

func (a *app) rollbackCommand() *cobra.Command {
	var o rollbackOptions
	cmd := &cobra.Command{
		Use:   "rollback APPLICATION [REVISION]",
		Short: "Go back to an earlier revision and stay there",
		Long: "Shows what going back to a revision does, asks, and holds the Application there although Git is ahead:\n" +
			"an application of applications does not undo it. Without REVISION it is the last one that was synced with\n" +
			"success before the current one. 'mizzen resume' follows Git again.",
		Args:              arguments(1, 2),
		ValidArgsFunction: a.completeRevisions,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := bounded(cmd.Context(), o.timeout)
			defer cancel()
			revision := ""
			if len(args) > 1 {
				revision = args[1]
			}
			return a.rollback(ctx, args[0], revision, o)
		},
	}
	cmd.Flags().StringVar(&o.reason, "reason", "", "why; shown wherever the hold is")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	cmd.Flags().DurationVar(&o.timeout, "timeout", 10*time.Minute, "give up after this long")
	return cmd
}

func (a *app) rollback(ctx context.Context, name, revision string, o rollbackOptions) error {
	c, config, err := a.kube.client()
	if err != nil {
		return err
	}
	app, err := a.kube.application(ctx, c, name)
	if err != nil {
		return err
	}
	if revision, err = goal(app, revision); err != nil {
		return err
	}
	d, err := a.desk()
	if err != nil {
		return err
	}
	defer d.close()
	p, err := a.planOf(ctx, d, c, config, app, contentFlags{revision: revision, fetch: true})
	if err != nil {
		return err
	}
	if err := a.showPlan(p.Plan, outputFlag{}); err != nil {
		return err
	}
	if mizzen.Worst(p.Findings) == mizzen.Fatal {
		return answer(ExitNo)
	}
	if err := a.confirm(ctx, fmt.Sprintf("Hold %s at %s?", app.Name, p.Commit.Short()), o.yes); err != nil {
		return err
	}
	return a.hold(ctx, c, d, app, p, o.reason)
}

// goal is the revision to go back to.
func goal(app *v1alpha1.Application, revision string) (string, error) {
	if revision == "" {
		return previous(app)
	}
	// A commit of the history may be shortened, as the history shows it.
	const shortest = 6
	for _, r := range app.Status.History {
		if len(revision) >= shortest && strings.HasPrefix(r.Revision, revision) {
			return r.Revision, nil
		}
	}
	return revision, nil
}

// previous is the last revision that was synced with success before the
// current one: the one that runs, or if a later one failed, that.
func previous(app *v1alpha1.Application) (string, error) {
	current := app.Status.Revision
	if report.Condition(app.Status.Conditions, v1alpha1.ConditionSynced).Status == metav1.ConditionFalse {
		current = app.Status.Attempted
	}
	for _, r := range app.Status.History {
		if r.Result == v1alpha1.SyncSucceeded && r.Revision != current {
			return r.Revision, nil
		}
	}
	return "", &mizzen.Error{
		Kind: mizzen.NotFound, Object: "application " + app.Namespace + "/" + app.Name,
		Err:    errors.New("no earlier revision was synced with success"),
		Remedy: "name one: 'mizzen rollback " + app.Name + " REVISION'",
	}
}

// hold keeps the Application at the plan's commit, and waits until it is there.
func (a *app) hold(ctx context.Context, c client.WithWatch, d *desk, app *v1alpha1.Application, p *engine.Planned, reason string) error {
	in := intentOf(app)
	in.Hold = &v1alpha1.Hold{Revision: p.Commit.ID, Reason: reason, By: whoami(ctx, c)}
	if err := a.declare(ctx, c, app, in); err != nil {
		return err
	}
	fmt.Fprintf(a.Err, "held; 'mizzen resume %s' follows Git again\n", app.Name)
	if app.Spec.Suspend {
		fmt.Fprintf(a.Out, "%s is suspended: it goes there when it is resumed\n", app.Name)
		return nil
	}
	_, led, err := a.controllerLease(ctx, c)
	if err != nil {
		return explain(err, "the controller's lease", "")
	}
	if !led {
		return a.syncHere(ctx, c, d, p)
	}
	if err := a.permit(ctx, c, app, p.Digest); err != nil {
		return err
	}
	tell := a.progress()
	return a.await(ctx, c, app, func(now *v1alpha1.Application) (bool, error) {
		tell(now)
		if now.Generation < app.Generation || report.InProgress(now) {
			return false, nil
		}
		synced := report.Condition(now.Status.Conditions, v1alpha1.ConditionSynced)
		if synced.Status == metav1.ConditionTrue && now.Status.Revision != p.Commit.ID {
			return false, nil
		}
		return true, a.tellOutcome(now)
	})
}

// permit allows an Application whose mode is Manual to carry out a plan.
func (a *app) permit(ctx context.Context, c client.Client, app *v1alpha1.Application, digest string) error {
	if app.Spec.Sync.Mode != v1alpha1.SyncManual {
		return nil
	}
	before := app.DeepCopy()
	metav1.SetMetaDataAnnotation(&app.ObjectMeta, mizzen.AnnotationSync, digest)
	return explain(c.Patch(ctx, app, client.MergeFrom(before)), "application "+app.Namespace+"/"+app.Name, "")
}
