package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/controller/application"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/report"
)

func (a *app) syncCommand() *cobra.Command {
	var (
		content contentFlags
		yes     bool
		file    string
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "sync APPLICATION",
		Short: "Make the cluster match Git, after showing what that does",
		Long: "Shows the plan, asks, and carries it out. A running controller is asked to do it; without one it is done\n" +
			"here, with your own rights. With --plan only exactly that plan is carried out.",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeApplications,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return a.sync(ctx, args[0], content, file, yes)
		},
	}
	cmd.Flags().StringVar(&content.revision, "revision", "", "sync a branch, tag or commit (only without a controller)")
	cmd.Flags().StringVar(&file, "plan", "", "carry out the plan of this file; refused if it is stale")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "give up after this long")
	return cmd
}

func (a *app) sync(ctx context.Context, name string, content contentFlags, file string, yes bool) error {
	c, config, err := a.kube.client()
	if err != nil {
		return err
	}
	app, led, err := a.syncable(ctx, c, name, content)
	if err != nil {
		return err
	}
	d, err := a.desk()
	if err != nil {
		return err
	}
	defer d.close()
	// What is synced is what Git has, not what lies in a clone.
	content.fetch = true
	p, err := a.planOf(ctx, d, c, config, app, content)
	if err != nil {
		return err
	}
	if err := a.agree(ctx, p.Plan, file, yes); err != nil {
		return err
	}
	if led {
		return a.syncByController(ctx, c, app, p.Plan)
	}
	return a.syncHere(ctx, c, d, p)
}

// agree shows a plan, and returns nil if it is to be carried out.
func (a *app) agree(ctx context.Context, p *mizzen.Plan, file string, yes bool) error {
	if file != "" {
		if err := sameAs(file, p); err != nil {
			return err
		}
	}
	if err := a.showPlan(p, outputFlag{}); err != nil {
		return err
	}
	if mizzen.Worst(p.Findings) == mizzen.Fatal {
		return answer(ExitNo)
	}
	if !p.Writes() {
		return nil
	}
	return a.confirm(ctx, "Carry this out?", yes)
}

// syncable returns an Application that may be synced now, and whether a
// controller is there to do it.
func (a *app) syncable(ctx context.Context, c client.Client, name string, content contentFlags) (*v1alpha1.Application, bool, error) {
	app, err := a.kube.application(ctx, c, name)
	if err != nil {
		return nil, false, err
	}
	_, led, err := a.controllerLease(ctx, c)
	if err != nil {
		return nil, false, explain(err, "the controller's lease", "")
	}
	refused := func(why, remedy string) error {
		return &mizzen.Error{
			Kind: mizzen.Refused, Object: "application " + app.Namespace + "/" + app.Name, Err: errors.New(why), Remedy: remedy,
		}
	}
	switch {
	case app.Spec.Suspend:
		return nil, false, refused("it is suspended", "'mizzen resume "+app.Name+"' follows Git again")
	case app.Spec.Hold != nil:
		return nil, false, refused("it is held", "'mizzen resume "+app.Name+"' follows Git again")
	case !led && guarded(app):
		return nil, false, refused("it has a gate, which only a controller opens", "start one with 'mizzen up'")
	case led && content.revision != "":
		return nil, false, refused("a controller runs, which follows Git", fmt.Sprintf("'mizzen rollback %s %s' stays at a revision", app.Name, content.revision))
	}
	return app, led, nil
}

// sameAs refuses a plan file that does not say what a sync would do now.
func sameAs(file string, now *mizzen.Plan) error {
	agreed, err := readPlan(file)
	if err != nil {
		return err
	}
	if agreed.Application != now.Application || agreed.Digest != now.Digest {
		return &mizzen.Error{
			Kind: mizzen.Conflict, Object: "plan " + file,
			Err:    fmt.Errorf("it is stale: it has digest %.19s…, a sync would now do %.19s…", agreed.Digest, now.Digest),
			Remedy: "look at 'mizzen plan " + now.Application.Name + "' and agree again",
		}
	}
	return nil
}

// syncByController asks the controller to fetch and to sync, and waits for what
// becomes of it.
func (a *app) syncByController(ctx context.Context, c client.WithWatch, app *v1alpha1.Application, p *mizzen.Plan) error {
	wish := a.clock.Now().UTC().Format(time.RFC3339Nano)
	repo := &v1alpha1.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: app.Namespace, Name: app.Spec.Source.Repository}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, mizzen.AnnotationReconcile, wish)
	if err := c.Patch(ctx, repo, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		fmt.Fprintf(a.Err, "warning: the controller may not know the commit yet: %s\n", report.Plain(err.Error()))
	}
	before := app.DeepCopy()
	metav1.SetMetaDataAnnotation(&app.ObjectMeta, mizzen.AnnotationSync, p.Digest)
	metav1.SetMetaDataAnnotation(&app.ObjectMeta, mizzen.AnnotationReconcile, wish)
	if err := c.Patch(ctx, app, client.MergeFrom(before)); err != nil {
		return explain(err, "application "+app.Namespace+"/"+app.Name, "")
	}
	fmt.Fprintln(a.Err, "the controller carries it out")
	tell := a.progress()
	return a.await(ctx, c, app, func(now *v1alpha1.Application) (bool, error) {
		tell(now)
		if now.Status.HandledReconcile != wish || report.InProgress(now) || p.Writes() && !tried(before, now, p.Commit.ID) && !gated(now) {
			return false, nil
		}
		return true, a.tellOutcome(now)
	})
}

// progress returns a function that says what is waited for, whenever that
// changes.
func (a *app) progress() func(*v1alpha1.Application) {
	last := ""
	return func(app *v1alpha1.Application) {
		synced := report.Condition(app.Status.Conditions, v1alpha1.ConditionSynced)
		if synced.Status == metav1.ConditionTrue || app.Status.ObservedGeneration != app.Generation || synced.Message == last {
			return
		}
		last = synced.Message
		fmt.Fprintln(a.Err, report.Plain(last))
	}
}

// tried tells whether the controller got to the commit, or to a newer one.
func tried(before, now *v1alpha1.Application, commit string) bool {
	was, is := before.Status, now.Status
	return is.Attempted == commit || is.Revision == commit || is.Attempted != was.Attempted || is.Revision != was.Revision
}

// gated tells that the gate holds a revision.
func gated(app *v1alpha1.Application) bool {
	reason := report.Condition(app.Status.Conditions, v1alpha1.ConditionSynced).Reason
	return reason == v1alpha1.ReasonAwaitingApproval || reason == v1alpha1.ReasonDenied
}

// guarded tells whether an Application has a gate that holds: its own, or, as far
// as the status tells, that of the controller.
func guarded(app *v1alpha1.Application) bool {
	switch app.Spec.Sync.Gate {
	case v1alpha1.GatePolicy:
		return true
	case v1alpha1.GateNone, v1alpha1.GateReport:
		return false
	}
	review := app.Status.Review
	return review != nil && review.Gate == v1alpha1.GatePolicy || gated(app)
}

// syncHere carries the plan out with the user's own rights.
func (a *app) syncHere(ctx context.Context, c client.Client, d *desk, p *engine.Planned) error {
	app, err := a.kube.application(ctx, c, p.Application.String())
	if err != nil {
		return err
	}
	start := a.clock.Now()
	outcome, syncErr := d.engine.Sync(ctx, p)
	if err := application.Record(ctx, c, app, p, outcome, start, a.clock.Since(start), syncErr); err != nil {
		return errors.Join(explain(err, "status of application "+app.Name, ""), syncErr)
	}
	if syncErr != nil {
		return explain(syncErr, "application "+app.Name, "")
	}
	fmt.Fprintf(a.Out, "synced: %s\n", outcome.Counts)
	return nil
}

// tellOutcome prints what the controller says of a sync.
func (a *app) tellOutcome(app *v1alpha1.Application) error {
	synced := report.Condition(app.Status.Conditions, v1alpha1.ConditionSynced)
	fmt.Fprintln(a.Out, report.Plain(synced.Message))
	if synced.Status != metav1.ConditionTrue {
		return answer(ExitNo)
	}
	return nil
}
