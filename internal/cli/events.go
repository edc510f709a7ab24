package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
	"mizzen.dev/mizzen/internal/engine"
	"mizzen.dev/mizzen/internal/live"
	"mizzen.dev/mizzen/internal/report"
)

func (a *app) eventsCommand() *cobra.Command {
	var (
		out     outputFlag
		watch   bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "events APPLICATION",
		Short: "Show what happened to an Application, its Repository and its objects",
		Long: "Shows the Events of an Application, of its Repository, of the objects that it applied and of those that they\n" +
			"own, the newest last. Kubernetes keeps Events for about an hour.",
		Args:              arguments(1, 1),
		ValidArgsFunction: a.completeApplications,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := bounded(cmd.Context(), timeout)
			defer cancel()
			e, err := a.eventer(ctx, args[0])
			if err != nil {
				return err
			}
			if watch {
				return e.watch(ctx, out)
			}
			items, err := e.list(ctx)
			if err != nil {
				return explain(err, "events", "")
			}
			return out.write(a.Out, "events", report.Events{Items: items}, func() error {
				if len(items) == 0 {
					fmt.Fprintln(a.Err, "nothing has happened lately")
				}
				return report.EventsText(a.Out, items, a.clock.Now(), a.style())
			})
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "print new events, until interrupted")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up after this long (0: never)")
	out.register(cmd, "text", "json", "yaml")
	return cmd
}

// eventer finds the Events of one Application.
type eventer struct {
	app         *app
	application *v1alpha1.Application
	home        client.WithWatch
	config      *rest.Config
	// own are the Application and its Repository.
	own map[mizzen.Ref]bool
	// objects are those in the destination; looked tells when they were read,
	// and foreign what was not among them then.
	objects, foreign map[mizzen.Ref]bool
	looked           time.Time
}

func (a *app) eventer(ctx context.Context, name string) (*eventer, error) {
	c, config, err := a.kube.client()
	if err != nil {
		return nil, err
	}
	app, err := a.kube.application(ctx, c, name)
	if err != nil {
		return nil, err
	}
	ours := func(kind, name string) mizzen.Ref {
		return mizzen.Ref{Group: mizzen.Group, Kind: kind, Namespace: app.Namespace, Name: name}
	}
	e := &eventer{app: a, application: app, home: c, config: config, foreign: map[mizzen.Ref]bool{}, own: map[mizzen.Ref]bool{
		ours("Application", app.Name): true, ours("Repository", app.Spec.Source.Repository): true,
	}}
	return e, e.look(ctx)
}

// look reads which objects the Application has.
func (e *eventer) look(ctx context.Context) error {
	f, err := e.app.forest(ctx, e.home, e.config, e.application)
	if err != nil {
		return explain(err, "cluster of application "+e.application.Namespace+"/"+e.application.Name, "")
	}
	e.objects, e.looked = map[mizzen.Ref]bool{}, e.app.clock.Now()
	for _, t := range f.targets {
		e.objects[t.Ref()] = true
	}
	for _, child := range f.children {
		e.objects[child.Ref] = true
	}
	return nil
}

// place is a namespace of a cluster where Events are, and what to look for
// there.
type place struct {
	client    client.WithWatch
	namespace string
	wanted    func(mizzen.Ref) bool
}

func (e *eventer) places(ctx context.Context) ([]place, error) {
	isOwn := func(r mizzen.Ref) bool { return e.own[r] }
	isObject := func(r mizzen.Ref) bool { return e.objects[r] }
	namespaces := map[string]bool{}
	for ref := range e.objects {
		// Events of cluster-scoped objects are in the namespace default.
		namespaces[cmp.Or(ref.Namespace, "default")] = true
	}
	name, config, err := destinationConfig(ctx, e.home, e.config, e.application)
	if err != nil {
		return nil, err
	}
	if name == engine.InCluster {
		namespaces[e.application.Namespace] = true
		both := func(r mizzen.Ref) bool { return isOwn(r) || isObject(r) }
		return placesOf(e.home, namespaces, both), nil
	}
	s, err := newScheme()
	if err != nil {
		return nil, err
	}
	there, err := client.NewWithWatch(config, client.Options{Scheme: s})
	if err != nil {
		return nil, err
	}
	return append(placesOf(e.home, map[string]bool{e.application.Namespace: true}, isOwn), placesOf(there, namespaces, isObject)...), nil
}

func placesOf(c client.WithWatch, namespaces map[string]bool, wanted func(mizzen.Ref) bool) []place {
	var places []place
	for _, namespace := range slices.Sorted(maps.Keys(namespaces)) {
		places = append(places, place{c, namespace, wanted})
	}
	return places
}

// list returns the Events that the clusters still have, the newest last.
func (e *eventer) list(ctx context.Context) ([]report.Event, error) {
	places, err := e.places(ctx)
	if err != nil {
		return nil, err
	}
	items := []report.Event{}
	for _, p := range places {
		var found eventsv1.EventList
		if err := p.client.List(ctx, &found, client.InNamespace(p.namespace)); err != nil {
			return nil, err
		}
		for i := range found.Items {
			if event := report.EventOf(&found.Items[i]); p.wanted(event.Ref) {
				items = append(items, event)
			}
		}
	}
	report.SortEvents(items)
	return items, nil
}

// arrival is an Event that a watch brought.
type arrival struct {
	place place
	event report.Event
}

// watch prints what is there, and then what comes.
func (e *eventer) watch(ctx context.Context, out outputFlag) error {
	places, err := e.places(ctx)
	if err != nil {
		return explain(err, "events", "")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	arrivals, failed := make(chan arrival), make(chan error, len(places))
	for _, p := range places {
		go func() { failed <- e.follow(ctx, p, arrivals) }()
	}
	seen := map[report.Event]bool{}
	for {
		select {
		case err := <-failed:
			return explain(err, "events", "")
		case n := <-arrivals:
			if seen[n.event] || !e.wants(ctx, n.place, n.event) {
				continue
			}
			seen[n.event] = true
			if err := e.print(n.event, out); err != nil {
				return err
			}
		}
	}
}

// follow sends the Events of one place until the context ends.
func (e *eventer) follow(ctx context.Context, p place, arrivals chan<- arrival) error {
	list := func() client.ObjectList { return &eventsv1.EventList{} }
	return e.app.follow(ctx, p.client, list, func(o client.Object, gone bool) error {
		if gone {
			return nil
		}
		select {
		case arrivals <- arrival{p, report.EventOf(o.(*eventsv1.Event))}:
		case <-ctx.Done():
		}
		return nil
	}, client.InNamespace(p.namespace))
}

// clockSkew is by how much an Event may seem older than it is: the older form
// counts in seconds.
const clockSkew = time.Second

// wants tells whether an Event is about the Application. One of an object that
// is not known, such as a new pod, is a reason to read the objects again, once.
func (e *eventer) wants(ctx context.Context, p place, event report.Event) bool {
	switch {
	case p.wanted(event.Ref):
		return true
	case e.foreign[event.Ref], e.looked.Sub(event.Time) > clockSkew:
		return false
	}
	if err := e.look(ctx); err != nil {
		fmt.Fprintf(e.app.Err, "new objects are not seen: %s\n", report.Plain(err.Error()))
	}
	e.foreign[event.Ref] = !p.wanted(event.Ref)
	return p.wanted(event.Ref)
}

func (e *eventer) print(event report.Event, out outputFlag) error {
	a := e.app
	return out.stream(a.Out, "event", event, func() error {
		return report.EventsText(a.Out, []report.Event{event}, a.clock.Now(), a.style())
	})
}

// sortedTargets returns the objects of an inventory by identity.
func sortedTargets(inventory engine.Inventory) []live.Target {
	targets := inventory.Targets()
	slices.SortFunc(targets, func(a, b live.Target) int { return strings.Compare(a.Ref().String(), b.Ref().String()) })
	return targets
}
