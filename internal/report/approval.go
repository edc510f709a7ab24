package report

import (
	"fmt"
	"io"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
)

// ApprovalText writes what the gate says of a revision, for whoever is asked to
// approve it.
func ApprovalText(out io.Writer, r *v1alpha1.ReviewStatus, style Style) error {
	w := &printer{w: out}
	w.gate(r, style, "")
	return w.err
}

// gate writes a summary of a review, each line after an indent.
func (w *printer) gate(r *v1alpha1.ReviewStatus, style Style, indent string) {
	decision := mizzen.Decision(r.Decision)
	word := decisionWords[decision]
	if word == "" {
		word = r.Decision
	}
	if r.Gate == v1alpha1.GateReport {
		word += " (reported, nothing waits)"
	}
	w.printf("%s%s  %.8s..%.8s: %s\n", indent, style.paint(decisionColors[decision], word), r.Base, r.Revision, gateCounts(r))
	for _, reason := range r.Reasons {
		w.printf("%s  %s\n", indent, reason)
	}
	for _, a := range r.Approvals {
		who, count := strings.Join(a.Owners, " or "), ""
		if who == "" {
			who = "anybody who may approve for the application"
		}
		if a.Count > 1 {
			count = fmt.Sprintf("%d of ", a.Count)
		}
		w.printf("%s  approval of %s%s", indent, count, who)
		if len(a.By) > 0 {
			w.printf(": given by %s", strings.Join(a.By, ", "))
		}
		w.printf("\n")
	}
	w.printf("%s  %s\n", indent, style.paint(faint, "digest "+r.Digest))
}

func gateCounts(r *v1alpha1.ReviewStatus) string {
	c := r.Changes
	text := mizzen.Counts{Created: c.Created, Updated: c.Updated, Deleted: c.Deleted, Kept: c.Kept, Skipped: c.Skipped}.String()
	var effects []string
	add := func(n int, impact mizzen.Impact) {
		if n > 0 {
			effects = append(effects, fmt.Sprintf("%d %s", n, impact))
		}
	}
	add(r.Effects.Danger, mizzen.ImpactDanger)
	add(r.Effects.Warning, mizzen.ImpactWarning)
	add(r.Effects.Notice, mizzen.ImpactNotice)
	add(r.Effects.Info, mizzen.ImpactInfo)
	if len(effects) == 0 {
		return text + "; no effect"
	}
	return text + "; effects: " + strings.Join(effects, ", ")
}
