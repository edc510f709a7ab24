package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/controller/application"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/health"
	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/report"
)

func (a *app) treeCommand() *cobra.Command {
	var (
		out     outputFlag
		all     bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "tree APPLICATION",
		Short: "Show the objects of an Application, what they own, and their health",
		Long: "Shows every object that was applied, the objects that these own (such as a Deployment's pods), and the health of\n" +
			"each. The exit code is 0 if all are healthy, and 1 if one is not.",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeApplications,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := bounded(cmd.Context(), timeout)
			defer cancel()
			t, err := a.tree(ctx, args[0])
			if err != nil {
				return err
			}
			if err := out.write(a.Out, "tree", t, func() error { return report.TreeText(a.Out, t, all, a.style()) }); err != nil {
				return err
			}
			if !t.Healthy() {
				return answer(ExitNo)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "show all objects, however many healthy ones there are")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after this long (0: never)")
	out.register(cmd, "text", "json", "yaml")
	return cmd
}

func (a *app) tree(ctx context.Context, name string) (report.Tree, error) {
	c, config, err := a.kube.client()
	if err != nil {
		return report.Tree{}, err
	}
	app, err := a.kube.application(ctx, c, name)
	if err != nil {
		return report.Tree{}, err
	}
	t := report.Tree{Namespace: app.Namespace, Name: app.Name, State: report.ApplicationResource(app).State, Objects: []report.Node{}}
	f, err := a.forest(ctx, c, config, app)
	if err != nil {
		return t, explain(err, "cluster of application "+app.Namespace+"/"+app.Name, "")
	}
	t.Cluster = f.name
	unhealthy, err := a.judge(ctx, f)
	if err != nil {
		return t, explain(err, "cluster "+f.name, "")
	}
	for _, target := range f.targets {
		t.Objects = append(t.Objects, f.node(target.Ref(), unhealthy))
	}
	return t, nil
}

// forest is what an Application has in its cluster: the objects of its
// inventory, and what these own.
type forest struct {
	name     string
	cluster  *live.Cluster
	config   *rest.Config
	targets  []live.Target
	uids     map[mizzen.Ref]types.UID
	deleting map[mizzen.Ref]bool
	children []live.Child
}

func (a *app) forest(ctx context.Context, c client.Client, home *rest.Config, app *v1alpha1.Application) (*forest, error) {
	f := &forest{uids: map[mizzen.Ref]types.UID{}, deleting: map[mizzen.Ref]bool{}}
	var err error
	if f.name, f.config, err = destinationConfig(ctx, c, home, app); err != nil {
		return nil, err
	}
	if f.cluster, err = live.New(f.config, live.Options{Installation: mizzen.DefaultInstallation}); err != nil {
		return nil, err
	}
	inventory, err := application.ReadInventory(ctx, c, app)
	if err != nil {
		return nil, err
	}
	f.targets = sortedTargets(inventory)
	metadata, err := f.cluster.Metadata(ctx, f.targets)
	if err != nil {
		return nil, err
	}
	var parents []live.Parent
	for ref, o := range metadata {
		f.uids[ref], f.deleting[ref] = o.UID, o.DeletionTimestamp != nil
		parents = append(parents, live.Parent{Ref: ref, UID: o.UID})
	}
	if f.children, err = f.cluster.Children(ctx, parents); err != nil {
		return nil, err
	}
	for _, child := range f.children {
		f.deleting[child.Ref] = child.Deleting
	}
	return f, nil
}

// judge returns the health of every object that is not healthy.
func (a *app) judge(ctx context.Context, f *forest) (map[mizzen.Ref]health.Judgement, error) {
	judge, err := health.New(health.Options{})
	if err != nil {
		return nil, err
	}
	e := &engine.Engine{Judge: judge, Clock: a.clock}
	targets := f.targets
	for _, child := range f.children {
		served, err := f.cluster.Preferred(ctx, child.Ref.GroupKind())
		if err != nil {
			return nil, err
		}
		targets = append(targets, live.Target{Kind: served.Kind, Namespace: child.Ref.Namespace, Name: child.Ref.Name})
	}
	return e.Health(ctx, f.cluster, targets)
}

// node is an object of the inventory with all below it.
func (f *forest) node(ref mizzen.Ref, unhealthy map[mizzen.Ref]health.Judgement) report.Node {
	n := report.Node{Ref: ref, Health: string(health.Healthy), Deleting: f.deleting[ref]}
	uid, exists := f.uids[ref]
	if j, bad := unhealthy[ref]; bad {
		n.Health, n.Message = string(j.Status), j.Message
	} else if !exists {
		n.Health, n.Message = string(health.Missing), "the object does not exist"
	}
	n.Children = f.below(uid, unhealthy)
	return n
}

func (f *forest) below(uid types.UID, unhealthy map[mizzen.Ref]health.Judgement) []report.Node {
	var nodes []report.Node
	for _, child := range f.children {
		if child.Parent != uid || uid == "" {
			continue
		}
		n := report.Node{Ref: child.Ref, Health: string(health.Healthy), Deleting: child.Deleting}
		if j, bad := unhealthy[child.Ref]; bad {
			n.Health, n.Message = string(j.Status), j.Message
		}
		n.Children = f.below(child.UID, unhealthy)
		nodes = append(nodes, n)
	}
	return nodes
}
