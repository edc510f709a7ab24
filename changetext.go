package mizzen

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

// Lengths of the parts of a one-line text, in characters.
const (
	maxValueText  = 48
	maxFieldTexts = 3
)

// String returns one line for a history or a log, such as
// "update apps/Deployment shop/web: spec.replicas 2 → 3"; only the first
// fields are named, and long values are cut.
func (c Change) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", c.Action, c.Ref)
	var parts []string
	for _, f := range c.Fields[:min(len(c.Fields), maxFieldTexts)] {
		parts = append(parts, f.String())
	}
	if more := len(c.Fields) - maxFieldTexts; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	for _, p := range c.Release {
		parts = append(parts, string(p)+" handed over")
	}
	if len(parts) > 0 {
		b.WriteString(": " + strings.Join(parts, ", "))
	}
	if c.Reason != "" {
		b.WriteString(" (" + oneLine(c.Reason, 4*maxValueText) + ")")
	}
	return b.String()
}

// String returns "spec.replicas 2 → 3"; "+" stands for a field that is added,
// "-" for one that is removed.
func (f FieldChange) String() string {
	switch {
	case f.Before == nil:
		return fmt.Sprintf("+%s %s", f.Path, valueText(f.After))
	case f.After == nil:
		return fmt.Sprintf("-%s %s", f.Path, valueText(f.Before))
	}
	return fmt.Sprintf("%s %s → %s", f.Path, valueText(f.Before), valueText(f.After))
}

func valueText(v any) string {
	if s, ok := v.(string); ok {
		return oneLine(s, maxValueText)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return oneLine(fmt.Sprint(v), maxValueText)
	}
	return oneLine(string(b), maxValueText)
}

// oneLine cuts s and replaces what would break the line or move a terminal's
// cursor, since values come from repositories and clusters.
func oneLine(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == limit {
			b.WriteRune('…')
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		b.WriteRune(r)
		n++
	}
	if n == 0 {
		return `""`
	}
	return b.String()
}
