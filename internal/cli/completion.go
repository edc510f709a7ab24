package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// completeApplications completes the name of an Application. A cluster that
// does not answer at once completes nothing.
func (a *app) completeApplications(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	c, _, err := a.kube.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var apps v1alpha1.ApplicationList
	if err := c.List(ctx, &apps, client.InNamespace(a.kube.defaultNamespace())); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, app := range apps.Items {
		names = append(names, app.Name+"\t"+condition(&app, v1alpha1.ConditionReady).Message)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
