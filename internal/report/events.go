package report

import (
	"cmp"
	"io"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"

	"mizzen.dev/mizzen"
)

// Event is what happened to an object, as somebody told the cluster.
type Event struct {
	Time time.Time `json:"time"`
	// Type is Normal or Warning.
	Type    string     `json:"type"`
	Reason  string     `json:"reason"`
	Ref     mizzen.Ref `json:"ref"`
	Message string     `json:"message"`
	// Reporter is who says so.
	Reporter string `json:"reporter,omitempty"`
	// Count is how often it happened, if more than once.
	Count int32 `json:"count,omitempty"`
}

// Events is a list, the newest last.
type Events struct {
	Items []Event `json:"items"`
}

// EventOf reads an Event of the Kubernetes API: those of events.k8s.io, and
// those that older components still write in the form of the core group.
func EventOf(e *eventsv1.Event) Event {
	event := Event{
		Time: e.EventTime.Time, Type: e.Type, Reason: e.Reason, Message: e.Note,
		Ref:      refOf(e.Regarding),
		Reporter: cmp.Or(e.ReportingController, e.DeprecatedSource.Component),
	}
	switch {
	case e.Series != nil:
		event.Time, event.Count = e.Series.LastObservedTime.Time, e.Series.Count
	case !e.DeprecatedLastTimestamp.IsZero():
		event.Time = e.DeprecatedLastTimestamp.Time
		if e.DeprecatedCount > 1 {
			event.Count = e.DeprecatedCount
		}
	case event.Time.IsZero():
		event.Time = e.CreationTimestamp.Time
	}
	return event
}

func refOf(o corev1.ObjectReference) mizzen.Ref {
	return mizzen.Ref{Group: o.GroupVersionKind().Group, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
}

// SortEvents puts the newest last, in place.
func SortEvents(items []Event) {
	slices.SortStableFunc(items, func(a, b Event) int {
		return cmp.Or(a.Time.Compare(b.Time), mizzen.CompareRefs(a.Ref, b.Ref), cmp.Compare(a.Reason, b.Reason))
	})
}

// EventsText writes events for a terminal, one per line.
func EventsText(out io.Writer, items []Event, now time.Time, s Style) error {
	w := &printer{w: out}
	var rows table
	for _, e := range items {
		kind := s.paint(green, e.Reason)
		if e.Type == corev1.EventTypeWarning {
			kind = s.paint(red, "! "+e.Reason)
		}
		text := e.Message
		if e.Count > 1 {
			text += " (" + times(e.Count) + ")"
		}
		rows.add(s.paint(faint, Ago(now, e.Time)), kind, e.Ref.String(), text)
	}
	rows.write(w)
	return w.err
}
