package mizzen

import (
	"cmp"
	"slices"
)

// Decision is what policy says of a change.
type Decision string

// The decisions of a Verdict, from the mildest.
const (
	Allow         Decision = "allow"
	NeedsApproval Decision = "needsApproval"
	Deny          Decision = "deny"
)

// Level is what a rule of policy does when it is triggered.
type Level string

// The levels of a rule, from the mildest.
const (
	// LevelOff: the rule is not asked.
	LevelOff Level = "off"
	// LevelWarn: it is said, and nothing waits.
	LevelWarn Level = "warn"
	// LevelApproval: the owners of what is affected must agree.
	LevelApproval Level = "approval"
	// LevelDeny: no approval helps.
	LevelDeny Level = "deny"
)

// Levels are all levels, from the mildest.
var Levels = []Level{LevelOff, LevelWarn, LevelApproval, LevelDeny}

// Stricter returns the stricter of two levels. What is no level is the mildest.
func (l Level) Stricter(other Level) Level {
	if slices.Index(Levels, other) > slices.Index(Levels, l) {
		return other
	}
	return l
}

// Decision returns what a triggered rule of the level decides.
func (l Level) Decision() Decision {
	switch l {
	case LevelDeny:
		return Deny
	case LevelApproval:
		return NeedsApproval
	case LevelOff, LevelWarn:
	}
	return Allow
}

// Verdict is what policy says of a Plan: whether it may be carried out, why not,
// and who has to agree.
type Verdict struct {
	Decision Decision `json:"decision"`
	// Reasons are the triggered rules, the strictest first.
	Reasons []Reason `json:"reasons,omitempty"`
	// Approvals must all be given if the decision is NeedsApproval.
	Approvals []Approval `json:"approvals,omitempty"`
	// Policy is the file that set the levels, with its revision where one is
	// known; empty for the built-in levels.
	Policy string `json:"policy,omitempty"`
}

// Reason is one rule that was triggered.
type Reason struct {
	// Rule is the name of a guardrail or of a rule of the policy file.
	Rule  string `json:"rule"`
	Level Level  `json:"level"`
	// Message is one sentence without a final stop.
	Message string `json:"message"`
	// Remedy is what to do about it, as an imperative sentence.
	Remedy string `json:"remedy,omitempty"`
	// Triggers are what triggered the rule, at most MaxTriggers; More counts
	// the others.
	Triggers []Trigger `json:"triggers,omitempty"`
	More     int       `json:"more,omitempty"`
	// Owners are those of what is affected, sorted.
	Owners []string `json:"owners,omitempty"`
}

// MaxTriggers bounds the triggers that a Reason tells.
const MaxTriggers = 20

// Trigger is an Effect, a Change, a Finding or a file that triggered a rule.
type Trigger struct {
	// Code is that of an Effect or a Finding, or the Action of a Change.
	Code string `json:"code,omitempty"`
	// Subject is what it is about: an Effect's subject, an object, a file.
	Subject string `json:"subject"`
	// Message is one sentence without a final stop.
	Message string `json:"message,omitempty"`
	Origin  Origin `json:"origin,omitzero"`
}

// Approval is the agreement of one group of owners.
type Approval struct {
	// Owners are who may give it, as CODEOWNERS writes them; empty: anybody who
	// may write to the repository, other than the author.
	Owners []string `json:"owners,omitempty"`
	// Count is how many of them must agree, at least 1.
	Count int `json:"count"`
	// Section is GitLab's section of CODEOWNERS, if it has one.
	Section string `json:"section,omitempty"`
	// For is what they own that is affected, sorted, at most MaxTriggers.
	For []string `json:"for,omitempty"`
}

// SortReasons orders by level, the strictest first, then by rule, in place.
func SortReasons(reasons []Reason) {
	slices.SortStableFunc(reasons, func(a, b Reason) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Levels, b.Level), slices.Index(Levels, a.Level)),
			cmp.Compare(a.Rule, b.Rule),
		)
	})
}

// Decide sets the decision to that of the strictest reason, and removes the
// approvals unless they are what is missing.
func (v *Verdict) Decide() {
	level := LevelOff
	for _, r := range v.Reasons {
		level = level.Stricter(r.Level)
	}
	v.Decision = level.Decision()
	if v.Decision != NeedsApproval {
		v.Approvals = nil
	}
}

// essence is what is decided, without places and without the revision of the
// policy.
func (v *Verdict) essence() Verdict {
	if v == nil {
		return Verdict{}
	}
	out := Verdict{Decision: v.Decision}
	for _, r := range v.Reasons {
		r.Triggers = slices.Clone(r.Triggers)
		for i := range r.Triggers {
			r.Triggers[i].Origin = Origin{}
		}
		out.Reasons = append(out.Reasons, r)
	}
	for _, a := range v.Approvals {
		a.For = nil
		out.Approvals = append(out.Approvals, a)
	}
	return out
}
