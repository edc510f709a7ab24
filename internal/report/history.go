package report

import (
	"io"
	"time"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// History is the syncs of an Application, the newest first.
type History struct {
	Namespace string                `json:"namespace"`
	Name      string                `json:"name"`
	Items     []v1alpha1.SyncRecord `json:"items"`
}

// HistoryText writes a History for a terminal.
func HistoryText(out io.Writer, h History, now time.Time, s Style) error {
	w := &printer{w: out}
	if len(h.Items) == 0 {
		w.printf("%s was never synced\n", h.Namespace+"/"+h.Name)
	}
	writeHistory(w, h.Items, now, s, "", true)
	return w.err
}

// writeHistory writes syncs; long names what each of them changed.
func writeHistory(w *printer, records []v1alpha1.SyncRecord, now time.Time, s Style, indent string, long bool) {
	for _, r := range records {
		result := s.paint(green, "✓ "+string(r.Result))
		if r.Result == v1alpha1.SyncFailed {
			result = s.paint(red, "✗ "+string(r.Result))
		}
		w.printf("%s%s  %s  %s in %s", indent, s.paint(bold, short(r.Revision)), Ago(now, r.Started.Time), result,
			Took(time.Duration(r.Milliseconds)*time.Millisecond))
		if r.Note != "" {
			w.printf(" (%s)", r.Note)
		}
		w.printf("  %s\n", s.paint(faint, signed(r)))
		if r.Message != "" && (long || r.Result == v1alpha1.SyncFailed) {
			w.block(indent+"  ", r.Message)
		}
		if !long {
			continue
		}
		for _, c := range r.Changes {
			w.printf("%s    %s\n", indent, c)
		}
	}
}

func signed(r v1alpha1.SyncRecord) string {
	if r.Author == "" {
		return r.Subject
	}
	return r.Author + ": " + r.Subject
}
