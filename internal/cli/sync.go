package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/controller"
	"mizzen.dev/mizzen/internal/controller/application"
	"mizzen.dev/mizzen/internal/engine"
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
		Args:              cobra.ExactArgs(1),
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
	d, err := a.desk()
	if err != nil {
		return err
	}
	defer d.close()
	// What is synced is what Git has, not what lies in a clone.
	content.fetch = true
	p, err := a.plan(ctx, d, name, content)
	if err != nil {
		return err
	}
	if file != "" {
		if err := sameAs(file, p.Plan); err != nil {
			return err
		}
	}
	if err := a.showPlan(p.Plan, "text"); err != nil {
		return err
	}
	if mizzen.Worst(p.Findings) == mizzen.Fatal {
		return answer(ExitNo)
	}
	if err := a.confirm(p.Plan, yes); err != nil {
		return err
	}
	c, _, err := a.kube.client()
	if err != nil {
		return err
	}
	if led, err := controllerRuns(ctx, c); err != nil {
		return explain(err, "the controller's lease", "")
	} else if led {
		return a.syncByController(ctx, c, name, p.Plan)
	}
	return a.syncHere(ctx, c, d, p)
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

func (a *app) confirm(p *mizzen.Plan, yes bool) error {
	if yes || !p.Writes() {
		return nil
	}
	if !a.Terminal {
		return &mizzen.Error{Kind: mizzen.Refused, Object: "sync", Err: errNoTerminal, Remedy: "use --yes"}
	}
	fmt.Fprint(a.Err, "Carry this out? [y/N] ")
	line, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && line == "" {
		return fmt.Errorf("read the answer: %w", err)
	}
	if answered := strings.ToLower(strings.TrimSpace(line)); answered != "y" && answered != "yes" {
		fmt.Fprintln(a.Err, "nothing was done")
		return answer(ExitNo)
	}
	return nil
}

// controllerRuns tells whether a controller holds its lease.
func controllerRuns(ctx context.Context, c client.Client) (bool, error) {
	var lease coordinationv1.Lease
	key := client.ObjectKey{Namespace: mizzen.SystemNamespace, Name: controller.LeaseName}
	if err := c.Get(ctx, key, &lease); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	s := lease.Spec
	if s.HolderIdentity == nil || *s.HolderIdentity == "" || s.RenewTime == nil || s.LeaseDurationSeconds == nil {
		return false, nil
	}
	return time.Since(s.RenewTime.Time) < time.Duration(*s.LeaseDurationSeconds)*time.Second, nil
}

// syncByController asks the controller, and waits for what becomes of it.
func (a *app) syncByController(ctx context.Context, c client.Client, name string, p *mizzen.Plan) error {
	app, err := a.kube.application(ctx, c, name)
	if err != nil {
		return err
	}
	before := app.DeepCopy()
	metav1.SetMetaDataAnnotation(&app.ObjectMeta, mizzen.AnnotationSync, p.Digest)
	wish := time.Now().UTC().Format(time.RFC3339Nano)
	metav1.SetMetaDataAnnotation(&app.ObjectMeta, mizzen.AnnotationReconcile, wish)
	if err := c.Patch(ctx, app, client.MergeFrom(before)); err != nil {
		return explain(err, "application "+name, "")
	}
	fmt.Fprintln(a.Err, "the controller carries it out")
	return a.awaitWish(ctx, c, name, wish)
}

// syncHere carries the plan out with the user's own rights.
func (a *app) syncHere(ctx context.Context, c client.Client, d *desk, p *engine.Planned) error {
	app, err := a.kube.application(ctx, c, p.Application.Name)
	if err != nil {
		return err
	}
	start := time.Now()
	outcome, syncErr := d.engine.Sync(ctx, p)
	if err := application.Record(ctx, c, app, p, outcome, start, time.Since(start), syncErr); err != nil {
		return errors.Join(explain(err, "status of application "+app.Name, ""), syncErr)
	}
	if syncErr != nil {
		return explain(syncErr, "application "+app.Name, "")
	}
	fmt.Fprintf(a.Out, "synced: %s\n", outcome.Counts)
	return nil
}

// awaitWish waits until the controller has answered a wish to reconcile.
func (a *app) awaitWish(ctx context.Context, c client.Client, name, wish string) error {
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		app, err := a.kube.application(ctx, c, name)
		if err != nil {
			return err
		}
		if app.Status.HandledReconcile == wish && !inProgress(app) {
			return a.tellOutcome(app)
		}
		select {
		case <-ctx.Done():
			return &mizzen.Error{
				Kind: mizzen.Timeout, Object: "application " + name, Err: ctx.Err(),
				Remedy: "see 'mizzen status " + name + "'; the controller goes on",
			}
		case <-ticker.C:
		}
	}
}

func (a *app) tellOutcome(app *v1alpha1.Application) error {
	synced := condition(app, v1alpha1.ConditionSynced)
	fmt.Fprintln(a.Out, synced.Message)
	if synced.Status != metav1.ConditionTrue {
		return answer(ExitNo)
	}
	return nil
}
