package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// completionPatience is how long a shell waits for names: a cluster that does
// not answer at once completes nothing.
const completionPatience = 2 * time.Second

var shells = []string{"bash", "zsh", "fish", "powershell"}

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that makes a shell complete verbs, flags and names",
		Long: "Prints a script for a shell. To load it:\n\n" +
			"  bash        source <(mizzen completion bash)\n" +
			"  zsh         source <(mizzen completion zsh)\n" +
			"  fish        mizzen completion fish | source\n" +
			"  powershell  mizzen completion powershell | Out-String | Invoke-Expression",
		Args:              arguments(1, 1),
		ValidArgsFunction: cobra.FixedCompletions(shells, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.Out, true)
			case "zsh":
				return root.GenZshCompletion(a.Out)
			case "fish":
				return root.GenFishCompletion(a.Out, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(a.Out)
			}
			return fmt.Errorf("there is no completion for %q; use '%s'", args[0], cmd.UseLine())
		},
	}
}

// completeApplications completes the name of an Application as first argument.
func (a *app) completeApplications(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeNames(cmd, listedKinds[0])
}

// completeGet completes a kind, then a name of that kind.
func (a *app) completeGet(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		var kinds []string
		for _, k := range listedKinds {
			kinds = append(kinds, k.names[0])
		}
		return kinds, cobra.ShellCompDirectiveNoFileComp
	case 1:
		if kind, err := kindNamed(args[0]); err == nil {
			return a.completeNames(cmd, kind)
		}
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// completeRevisions completes an Application, then a revision that it was at.
func (a *app) completeRevisions(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return a.completeApplications(cmd, args, "")
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	c, _, err := a.kube.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	app, err := a.kube.application(ctx, c, args[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var revisions []string
	for _, r := range app.Status.History {
		revisions = append(revisions, fmt.Sprintf("%.12s\t%s: %s", r.Revision, r.Result, r.Subject))
	}
	return revisions, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

func (a *app) completeNames(cmd *cobra.Command, kind listed) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	c, _, err := a.kube.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list := kind.list()
	if err := c.List(ctx, list, client.InNamespace(a.kube.defaultNamespace())); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	err = eachObject(list, func(o client.Object) { names = append(names, o.GetName()+"\t"+string(kind.resource(o).State)) })
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeContexts completes the contexts of the kubeconfig.
func (k *kubeFlags) completeContexts(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	raw, err := k.loader().RawConfig()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for name := range raw.Contexts {
		names = append(names, name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func eachObject(list client.ObjectList, f func(client.Object)) error {
	return meta.EachListItem(list, func(o runtime.Object) error {
		f(o.(client.Object))
		return nil
	})
}
