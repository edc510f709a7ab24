package cli

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen"
)

func (a *app) suspendCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "suspend APPLICATION",
		Short: "Stop syncing and healing an Application",
		Long: "Sets spec.suspend under a field manager of the command line, so that an application of applications does\n" +
			"not undo it. What runs goes on as it is; 'mizzen resume' follows Git again.",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeApplications,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, _, err := a.kube.client()
			if err != nil {
				return err
			}
			app, err := a.kube.application(ctx, c, args[0])
			if err != nil {
				return err
			}
			if app.Spec.Suspend && !slices.Contains(ownersOf(app, "suspend"), manager) {
				fmt.Fprintf(a.Out, "%s is suspended already: %s\n", app.Name, origin(app, "suspend"))
				return nil
			}
			in := intentOf(app)
			in.Suspend = true
			if err := a.declare(ctx, c, app, in); err != nil {
				return err
			}
			fmt.Fprintf(a.Out, "%s is suspended; 'mizzen resume %s' goes on\n", app.Name, app.Name)
			return nil
		},
	}
}

func (a *app) resumeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "resume APPLICATION",
		Short: "Follow Git again, after a rollback or a suspend",
		Long: "Takes back what 'mizzen rollback' and 'mizzen suspend' decided. A suspension that is set in Git stays,\n" +
			"and the exit code is 1.",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeApplications,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, _, err := a.kube.client()
			if err != nil {
				return err
			}
			app, err := a.kube.application(ctx, c, args[0])
			if err != nil {
				return err
			}
			before := app.Spec
			if before.Hold == nil && !before.Suspend {
				fmt.Fprintf(a.Out, "%s is neither held nor suspended\n", app.Name)
				return nil
			}
			if err := a.declare(ctx, c, app, intent{}); err != nil {
				return err
			}
			if app.Spec.Hold == nil && !app.Spec.Suspend {
				fmt.Fprintf(a.Out, "%s follows Git again; see 'mizzen status %s'\n", app.Name, app.Name)
				return nil
			}
			remains := &mizzen.Error{
				Kind: mizzen.Conflict, Object: "application " + app.Namespace + "/" + app.Name, Err: errStays,
				Remedy: "change it there: " + origin(app, "hold", "suspend"),
			}
			fmt.Fprintln(a.Err, remains)
			return answer(ExitNo)
		},
	}
}
