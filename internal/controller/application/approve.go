package application

import (
	"context"
	"slices"
	"sync"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
)

// givenTo are those of the Approvals that count for a group of owners.
func givenTo(a mizzen.Approval, given []v1alpha1.Approval) []v1alpha1.Approval {
	var counted []v1alpha1.Approval
	for _, g := range given {
		in := func(owner string) bool { return slices.Contains(a.Owners, owner) }
		if len(a.Owners) == 0 || slices.ContainsFunc(g.Spec.Owners, in) {
			counted = append(counted, g)
		}
	}
	return counted
}

// enough tells whether every group of owners agrees.
func enough(required []mizzen.Approval, given []v1alpha1.Approval) bool {
	return len(given) > 0 && !slices.ContainsFunc(required, func(a mizzen.Approval) bool {
		return len(usersOf(givenTo(a, given))) < a.Count
	})
}

// usersOf are the users of Approvals, sorted, each once.
func usersOf(given []v1alpha1.Approval) []string {
	var users []string
	for _, g := range given {
		users = append(users, g.Spec.User)
	}
	slices.Sort(users)
	return slices.Compact(users)
}

// gates knows which Applications wait at theirs, with their Repositories.
type gates struct {
	mu      sync.Mutex
	waiting map[mizzen.Name]mizzen.Name
}

func (g *gates) wait(app, repository mizzen.Name) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.waiting == nil {
		g.waiting = map[mizzen.Name]mizzen.Name{}
	}
	g.waiting[app] = repository
}

func (g *gates) leave(app mizzen.Name) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.waiting, app)
}

func (g *gates) holds(app mizzen.Name) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, waits := g.waiting[app]
	return waits
}

// of are those that wait and are of a Repository.
func (g *gates) of(repository mizzen.Name) []mizzen.Name {
	g.mu.Lock()
	defer g.mu.Unlock()
	var apps []mizzen.Name
	for app, of := range g.waiting {
		if of == repository {
			apps = append(apps, app)
		}
	}
	return apps
}

// wakeGated has those reviewed again that wait at their gate beside an
// Application that has just been synced: they may do less harm now, or more.
func (r *Reconciler) wakeGated(repository, but mizzen.Name) {
	for _, name := range r.gates.of(repository) {
		if name != but {
			r.memories.of(name).setRecheck(true)
			r.enqueue(name)
		}
	}
}

// approvalChanged wakes the Application that waits for an Approval.
func (r *Reconciler) approvalChanged(_ context.Context, o client.Object) []reconcile.Request {
	a, ok := o.(*v1alpha1.Approval)
	if !ok {
		return nil
	}
	name := mizzen.Name{Namespace: a.Namespace, Name: a.Spec.Application}
	if !r.gates.holds(name) {
		return nil
	}
	r.memories.of(name).setRecheck(true)
	return []reconcile.Request{request(name)}
}
