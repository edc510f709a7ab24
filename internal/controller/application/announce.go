package application

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
)

// quiet is how long no further Application may be synced at a commit before
// the commit is announced.
const quiet = 2 * time.Second

// announcer tells of successful syncs in one Event per commit, on the
// Repository: a commit that touches a thousand Applications is one piece of
// news, and must not cost a thousand requests.
type announcer struct {
	recorder events.EventRecorder
	clock    clock.WithTicker

	mu      sync.Mutex
	pending map[commitOf]*announcement
}

type commitOf struct {
	repository mizzen.Name
	commit     string
}

type announcement struct {
	subject      string
	applications int
	counts       mizzen.Counts
	last         time.Time
}

// synced counts one Application.
func (a *announcer) synced(repository mizzen.Name, commit mizzen.Commit, counts mizzen.Counts) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pending == nil {
		a.pending = map[commitOf]*announcement{}
	}
	key := commitOf{repository, commit.ID}
	n := a.pending[key]
	if n == nil {
		n = &announcement{subject: commit.Subject}
		a.pending[key] = n
	}
	n.applications++
	n.counts.Created += counts.Created
	n.counts.Updated += counts.Updated
	n.counts.Deleted += counts.Deleted
	n.counts.Kept += counts.Kept
	n.counts.Skipped += counts.Skipped
	n.counts.Unchanged += counts.Unchanged
	n.last = a.clock.Now()
}

// Start announces what has gone quiet until the context ends.
func (a *announcer) Start(ctx context.Context) error {
	ticker := a.clock.NewTicker(quiet / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
			a.flush()
		}
	}
}

func (a *announcer) flush() {
	a.mu.Lock()
	ready := map[commitOf]*announcement{}
	for key, n := range a.pending {
		if a.clock.Since(n.last) >= quiet {
			ready[key] = n
			delete(a.pending, key)
		}
	}
	a.mu.Unlock()
	for key, n := range ready {
		repository := &v1alpha1.Repository{
			TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Repository"},
			ObjectMeta: metav1.ObjectMeta{Namespace: key.repository.Namespace, Name: key.repository.Name},
		}
		a.recorder.Eventf(repository, revisionOf(key.repository, key.commit, ""), corev1.EventTypeNormal, "Synced", "Sync", "%s", n.text(key.commit))
	}
}

// The recorder counts Events that agree in everything but their text as one, and
// keeps the first text. What an Event is related to therefore has to tell apart
// what is news of its own.

// about is the object that a change was made to, and the first of its fields.
func about(c mizzen.Change) *corev1.ObjectReference {
	ref := &corev1.ObjectReference{APIVersion: c.APIVersion, Kind: c.Ref.Kind, Namespace: c.Ref.Namespace, Name: c.Ref.Name}
	if len(c.Fields) > 0 {
		ref.FieldPath = string(c.Fields[0].Path)
	}
	return ref
}

// transfers are the reasons of Events about objects that became ours, or were
// let go.
var transfers = map[mizzen.Code]string{mizzen.CodeAdopted: "Adopted", mizzen.CodeKept: "Kept"}

// maxTransfers is how many of them one sync tells; the history counts the rest.
const maxTransfers = 10

// tellTransfers makes an Event of each object that changed hands: the next Plan
// has no Finding of it any more.
func (x *run) tellTransfers() {
	told := 0
	for _, f := range x.planned.Findings {
		i := slices.IndexFunc(x.outcome.Written, func(c mizzen.Change) bool { return c.Ref == f.Ref })
		if reason := transfers[f.Code]; reason != "" && i >= 0 && told < maxTransfers {
			told++
			x.Recorder.Eventf(x.app, about(x.outcome.Written[i]), corev1.EventTypeWarning, reason, "Sync", "%s", clip(f.Message, maxMessage))
		}
	}
}

// revisionOf is a Repository at a commit, and a place in it.
func revisionOf(repository mizzen.Name, commit, place string) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "Repository",
		Namespace: repository.Namespace, Name: repository.Name, ResourceVersion: commit, FieldPath: place,
	}
}

func (n *announcement) text(commit string) string {
	s := ""
	if n.applications > 1 {
		s = "s"
	}
	text := fmt.Sprintf("%.8s synced %d application%s: %s", commit, n.applications, s, n.counts)
	if n.subject != "" {
		text += " (" + n.subject + ")"
	}
	return clip(text, maxMessage)
}
