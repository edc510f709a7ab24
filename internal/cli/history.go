package cli

import (
	"github.com/spf13/cobra"

	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/report"
)

func (a *app) historyCommand() *cobra.Command {
	var out outputFlag
	cmd := &cobra.Command{
		Use:               "history APPLICATION",
		Short:             "Show the last syncs: what changed, whose commit, how it went",
		Long:              "Shows the last 20 syncs, the newest first: commit, author, subject, what was changed, result and duration.",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeApplications,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, _, err := a.kube.client()
			if err != nil {
				return err
			}
			app, err := a.kube.application(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			h := report.History{Namespace: app.Namespace, Name: app.Name, Items: app.Status.History}
			if h.Items == nil {
				h.Items = []v1alpha1.SyncRecord{}
			}
			return out.write(a.Out, "history", h, func() error { return report.HistoryText(a.Out, h, a.clock.Now(), a.style()) })
		},
	}
	out.register(cmd, "text", "json", "yaml")
	return cmd
}
