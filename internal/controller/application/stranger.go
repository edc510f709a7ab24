package application

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/live"
)

// Fields that others add to objects of kinds that are not exclusive stay. Who
// added them is said once, in an Event; that they are there is said by the
// Findings of every evaluation.

// strangers tells whether the Findings may say something else now: somebody
// added a field, or took away what is mentioned.
func (x *run) strangers(touched map[mizzen.Ref]struct{}) bool {
	events := x.m.takeStrangers()
	for ref, e := range events {
		fields := make([]string, 0, len(e.Fields))
		for _, f := range e.Fields {
			fields = append(fields, string(f))
		}
		text := fmt.Sprintf("%s added %s to %s, which is not in Git and stays", strings.Join(e.Managers, ", "), strings.Join(fields, ", "), ref)
		place := &corev1.ObjectReference{Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name, FieldPath: clip(strings.Join(fields, ","), 200)}
		x.Recorder.Eventf(x.app, place, corev1.EventTypeWarning, "ForeignField", "Watch", "%s", clip(text, maxMessage))
	}
	if len(events) > 0 {
		return true
	}
	for ref := range touched {
		if !x.m.mentions(ref) {
			continue
		}
		if seen, ok := x.destination.Watcher.Lookup(ref); ok && !seen.Foreign {
			return true
		}
	}
	return false
}

// mention remembers the objects whose foreign fields the Findings mention.
func (x *run) mention() {
	mentioned := map[mizzen.Ref]bool{}
	for _, f := range x.planned.Findings {
		if f.Code == mizzen.CodeForeignField {
			mentioned[f.Ref] = true
		}
	}
	x.m.mu.Lock()
	defer x.m.mu.Unlock()
	x.m.mentioned = mentioned
}

func (m *memory) mentions(ref mizzen.Ref) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mentioned[ref]
}

// reportStranger notes an event of a watch about a field that stays.
func (m *memory) reportStranger(e live.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.strangers == nil {
		m.strangers = map[mizzen.Ref]live.Event{}
	}
	m.strangers[e.Ref] = e
}

func (m *memory) takeStrangers() map[mizzen.Ref]live.Event {
	m.mu.Lock()
	defer m.mu.Unlock()
	strangers := m.strangers
	m.strangers = nil
	return strangers
}
