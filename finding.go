package mizzen

import (
	"cmp"
	"slices"
)

// Severity orders Findings.
type Severity string

// The severities of a Finding, from harmless to fatal.
const (
	Info    Severity = "info"
	Warning Severity = "warning"
	// Fatal stops a sync before the first write.
	Fatal Severity = "error"
)

// Finding is what a check says of an object, for a person.
type Finding struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	// Message states what is wrong, in one sentence without a final stop.
	Message string `json:"message"`
	// Remedy is what to do about it.
	Remedy string `json:"remedy,omitempty"`
	// Ref and Path are what it is about; both may be empty.
	Ref    Ref    `json:"ref,omitzero"`
	Path   Path   `json:"path,omitempty"`
	Origin Origin `json:"origin,omitzero"`
}

// SortFindings orders by file, line, code, object and message, in place, so
// that the same input gives the same bytes.
func SortFindings(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(a.Origin.File, b.Origin.File),
			cmp.Compare(a.Origin.Line, b.Origin.Line),
			cmp.Compare(a.Code, b.Code),
			CompareRefs(a.Ref, b.Ref),
			cmp.Compare(a.Path, b.Path),
			cmp.Compare(a.Message, b.Message),
		)
	})
}

// Worst returns the highest severity among findings, "" if there are none.
func Worst(findings []Finding) Severity {
	rank := map[Severity]int{"": 0, Info: 1, Warning: 2, Fatal: 3}
	var worst Severity
	for _, f := range findings {
		if rank[f.Severity] > rank[worst] {
			worst = f.Severity
		}
	}
	return worst
}
