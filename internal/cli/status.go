package cli

import (
	"bytes"
	"context"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/controller/application"
	"mizzen.dev/mizzen/internal/report"
)

func (a *app) statusCommand() *cobra.Command {
	var (
		out         outputFlag
		watch, wait bool
		timeout     time.Duration
	)
	cmd := &cobra.Command{
		Use:   "status APPLICATION",
		Short: "Explain an Application: how it is, why, and what to do next",
		Long: "Says how far the newest revision came, what runs, why it is not ready, and what to do about it.\n\n" +
			"The exit code is 0 if the Application is synced and healthy, 1 if not, and 2 if it cannot be told.",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeApplications,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := bounded(cmd.Context(), timeout)
			defer cancel()
			c, _, err := a.kube.client()
			if err != nil {
				return err
			}
			app, err := a.kube.application(ctx, c, args[0])
			if err != nil {
				return err
			}
			if watch || wait {
				return a.watchStatus(ctx, c, app, out, wait)
			}
			s, err := a.explain(ctx, c, app)
			if err != nil {
				return err
			}
			err = out.write(a.Out, "status", s, func() error { return report.StatusText(a.Out, s, a.clock.Now(), a.style()) })
			if err != nil {
				return err
			}
			return readyAnswer(s.Ready)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "print a line for every change, until interrupted")
	cmd.Flags().BoolVar(&wait, "wait", false, "as --watch, until it is synced and healthy")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after this long (0: never)")
	out.register(cmd, "text", "json", "yaml")
	return cmd
}

// bounded is ctx with a timeout, if there is one.
func bounded(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

// readyAnswer is the exit code for a condition: yes, no, or cannot tell.
func readyAnswer(ready metav1.ConditionStatus) error {
	switch ready {
	case metav1.ConditionTrue:
		return nil
	case metav1.ConditionFalse:
		return answer(ExitNo)
	case metav1.ConditionUnknown:
	}
	return answer(ExitUnknown)
}

// explain gathers what a Status is made from. What the user may not read is
// left out.
func (a *app) explain(ctx context.Context, c client.Client, app *v1alpha1.Application) (report.Status, error) {
	in := report.StatusInput{Application: app, Objects: -1, Now: a.clock.Now()}
	var repo v1alpha1.Repository
	key := client.ObjectKey{Namespace: app.Namespace, Name: app.Spec.Source.Repository}
	if err := c.Get(ctx, key, &repo); err == nil {
		in.Repository = &repo
	}
	if inventory, err := application.ReadInventory(ctx, c, app); err == nil {
		in.Objects = len(inventory)
	}
	if _, held, err := a.controllerLease(ctx, c); err == nil {
		in.Uncontrolled = !held
	}
	return report.StatusOf(in), ctx.Err()
}

// watchStatus prints a Status whenever it changes in another way than by time
// going by.
func (a *app) watchStatus(ctx context.Context, c client.WithWatch, app *v1alpha1.Application, out outputFlag, wait bool) error {
	var last []byte
	return a.await(ctx, c, app, func(now *v1alpha1.Application) (bool, error) {
		s, err := a.explain(ctx, c, now)
		if err != nil {
			return false, err
		}
		var b bytes.Buffer
		err = out.stream(&b, "status", s, func() error { return report.StatusLine(&b, s, a.clock.Now(), a.style()) })
		if err != nil {
			return false, err
		}
		if this := []byte(now.ResourceVersion); !bytes.Equal(this, last) {
			last = this
			if _, err := a.Out.Write(b.Bytes()); err != nil {
				return false, err
			}
		}
		return wait && s.Ready == metav1.ConditionTrue, nil
	})
}
