package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/report"
	"mizzen.dev/mizzen/internal/source/git"
)

// listed is a kind of Mizzen's own objects that get knows.
type listed struct {
	name string
	// names are what users may call it; the first is shown.
	names    []string
	list     func() client.ObjectList
	resource func(client.Object) report.Resource
}

var listedKinds = []listed{
	{
		name: "application", names: []string{"applications", "application", "apps", "app"},
		list:     func() client.ObjectList { return &v1alpha1.ApplicationList{} },
		resource: func(o client.Object) report.Resource { return report.ApplicationResource(o.(*v1alpha1.Application)) },
	},
	{
		name: "repository", names: []string{"repositories", "repository", "repos", "repo"},
		list: func() client.ObjectList { return &v1alpha1.RepositoryList{} },
		resource: func(o client.Object) report.Resource {
			repo := o.(*v1alpha1.Repository)
			return report.RepositoryResource(repo, git.Redact(repo.Spec.URL))
		},
	},
	{
		name: "cluster", names: []string{"clusters", "cluster"},
		list:     func() client.ObjectList { return &v1alpha1.ClusterList{} },
		resource: func(o client.Object) report.Resource { return report.ClusterResource(o.(*v1alpha1.Cluster)) },
	},
}

// kindNamed finds a kind by one of its names.
func kindNamed(name string) (listed, error) {
	var known []string
	for _, k := range listedKinds {
		for _, n := range k.names {
			if strings.EqualFold(n, name) {
				return k, nil
			}
		}
		known = append(known, k.names[0])
	}
	return listed{}, &mizzen.Error{
		Kind: mizzen.Invalid, Object: "get " + name, Err: fmt.Errorf("there is no such kind"),
		Remedy: "use one of " + strings.Join(known, ", ") + "; kubectl lists everything else",
	}
}

func (a *app) getCommand() *cobra.Command {
	var (
		out        outputFlag
		all, watch bool
		timeout    time.Duration
	)
	cmd := &cobra.Command{
		Use:   "get applications|repositories|clusters [NAME]",
		Short: "List Mizzen's own objects, the worst first",
		Long: "Lists Applications (app), Repositories (repo) or Clusters with their state and the reason for it, the worst first.\n" +
			"The exit code is 0 if they could be listed, however they are; 'mizzen status' judges.",
		Args:              arguments(1, 2),
		ValidArgsFunction: a.completeGet,
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := kindNamed(args[0])
			if err != nil {
				return err
			}
			ctx, cancel := bounded(cmd.Context(), timeout)
			defer cancel()
			g := getter{app: a, kind: kind, out: out, all: all}
			return g.get(ctx, args[1:], watch)
		},
	}
	cmd.Flags().BoolVarP(&all, "all-namespaces", "A", false, "list all namespaces")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "print a line for every change, until interrupted")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after this long (0: never)")
	out.register(cmd, "text", "json", "yaml", "name")
	return cmd
}

// getter lists one kind.
type getter struct {
	app  *app
	kind listed
	out  outputFlag
	all  bool
}

func (g *getter) get(ctx context.Context, names []string, watch bool) error {
	c, _, err := g.app.kube.client()
	if err != nil {
		return err
	}
	options, what := g.scope(names)
	if watch {
		return explain(g.watch(ctx, c, options), what, "")
	}
	list := g.kind.list()
	if err := c.List(ctx, list, options...); err != nil {
		return explain(err, what, "")
	}
	items, err := g.items(list)
	if err != nil {
		return err
	}
	if len(items) == 0 && len(names) > 0 {
		return &mizzen.Error{
			Kind: mizzen.NotFound, Object: what, Err: fmt.Errorf("not found"),
			Remedy: "see 'mizzen get " + g.kind.names[0] + " --all-namespaces'",
		}
	}
	return g.print(items)
}

// scope says what to list, and what that is called.
func (g *getter) scope(names []string) ([]client.ListOption, string) {
	var options []client.ListOption
	if len(names) > 0 {
		key := g.app.kube.key(g.kind.name, names[0])
		return append(options, client.InNamespace(key.Namespace), client.MatchingFields{"metadata.name": key.Name}),
			g.kind.name + " " + key.String()
	}
	if !g.all {
		options = append(options, client.InNamespace(g.app.kube.defaultNamespace()))
	}
	return options, g.kind.names[0]
}

func (g *getter) items(list client.ObjectList) ([]report.Resource, error) {
	items := []report.Resource{}
	err := eachObject(list, func(o client.Object) { items = append(items, g.kind.resource(o)) })
	report.SortResources(items)
	return items, err
}

func (g *getter) print(items []report.Resource) error {
	a := g.app
	if g.out.format == "name" {
		return g.names(items)
	}
	return g.out.write(a.Out, g.kind.names[0], report.Resources{Items: items}, func() error {
		if len(items) == 0 {
			where := "in namespace " + a.kube.defaultNamespace() + "; -A lists all namespaces"
			if g.all {
				where = "in any namespace"
			}
			fmt.Fprintf(a.Err, "there are no %s %s\n", g.kind.names[0], where)
			return nil
		}
		return report.ResourcesText(a.Out, items, report.ResourceTable{Kind: g.kind.name, Namespaces: g.all}, a.clock.Now(), a.style())
	})
}

func (g *getter) names(items []report.Resource) error {
	for _, r := range items {
		if _, err := fmt.Fprintf(g.app.Out, "%s.%s/%s\n", r.Kind, mizzen.Group, report.Plain(r.Name)); err != nil {
			return err
		}
	}
	return nil
}

// watch prints a row for every change that the row shows.
func (g *getter) watch(ctx context.Context, c client.WithWatch, options []client.ListOption) error {
	a, seen := g.app, map[client.ObjectKey]report.Resource{}
	return a.follow(ctx, c, g.kind.list, func(o client.Object, gone bool) error {
		r, key := g.kind.resource(o), client.ObjectKeyFromObject(o)
		if gone {
			delete(seen, key)
			fmt.Fprintf(a.Err, "%s %s was deleted\n", g.kind.name, report.Plain(key.String()))
			return nil
		}
		before, known := seen[key]
		before.Changed = r.Changed
		if known && before == r {
			return nil
		}
		headless := len(seen) > 0
		seen[key] = r
		if g.out.format == "name" {
			return g.names([]report.Resource{r})
		}
		return g.out.stream(a.Out, g.kind.name, r, func() error {
			table := report.ResourceTable{Kind: g.kind.name, Namespaces: g.all, Headless: headless}
			return report.ResourcesText(a.Out, []report.Resource{r}, table, a.clock.Now(), a.style())
		})
	}, options...)
}
