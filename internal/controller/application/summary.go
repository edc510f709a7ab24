package application

import (
	"fmt"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/api/v1alpha1"
)

// Bounds of what a status tells of a Review.
const (
	maxReasons   = 5
	maxApprovals = 4
	maxOwners    = 4
	// maxLine bounds a line, in bytes.
	maxLine = 160
)

// summaryOf is what the status tells of a Review, and what it is for.
func (x *run) summaryOf(r *mizzen.Review, digest string, given []v1alpha1.Approval) *v1alpha1.ReviewStatus {
	s := summaryOf(r, digest, given)
	s.Gate, s.Default = x.gateOf(), x.app.Spec.Sync.Gate == ""
	return s
}

func summaryOf(r *mizzen.Review, digest string, given []v1alpha1.Approval) *v1alpha1.ReviewStatus {
	counts := r.Counts()
	s := &v1alpha1.ReviewStatus{
		Revision: r.Head.ID, Base: r.Base.ID, Digest: digest, Decision: string(r.Verdict.Decision),
		Changes: v1alpha1.SyncCounts{
			Created: counts.Created, Updated: counts.Updated, Deleted: counts.Deleted, Kept: counts.Kept, Skipped: counts.Skipped,
		},
		Effects: effectCounts(r.Effects),
	}
	for _, reason := range r.Verdict.Reasons[:min(len(r.Verdict.Reasons), maxReasons)] {
		s.Reasons = append(s.Reasons, clip(string(reason.Level)+" "+reasonText(reason), maxLine))
	}
	for _, a := range r.Verdict.Approvals[:min(len(r.Verdict.Approvals), maxApprovals)] {
		by := usersOf(givenTo(a, given))
		required := v1alpha1.RequiredApproval{Count: a.Count}
		for _, owner := range a.Owners[:min(len(a.Owners), maxOwners)] {
			required.Owners = append(required.Owners, clip(owner, maxLine/2))
		}
		for _, user := range by[:min(len(by), maxOwners)] {
			required.By = append(required.By, clip(user, maxLine/2))
		}
		s.Approvals = append(s.Approvals, required)
	}
	return s
}

func effectCounts(effects []mizzen.Effect) v1alpha1.EffectCounts {
	var c v1alpha1.EffectCounts
	for _, e := range effects {
		switch e.Impact {
		case mizzen.ImpactDanger:
			c.Danger++
		case mizzen.ImpactWarning:
			c.Warning++
		case mizzen.ImpactNotice:
			c.Notice++
		case mizzen.ImpactInfo:
			c.Info++
		}
	}
	return c
}

// reasonText is a rule, what it says, and the first that triggered it.
func reasonText(r mizzen.Reason) string {
	text := r.Rule + ": " + r.Message
	if len(r.Triggers) > 0 {
		text += " (" + triggerText(r.Triggers[0])
		if more := len(r.Triggers) - 1 + r.More; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		text += ")"
	}
	return text
}

// triggerText is what triggered a rule. What a Finding is about does not tell what
// is wrong with it.
func triggerText(t mizzen.Trigger) string {
	switch {
	case !strings.HasPrefix(t.Code, "MZ") || t.Message == "":
		return t.Subject
	case t.Origin.File == t.Subject:
		return t.Origin.String() + ": " + t.Message
	}
	return t.Subject + ": " + t.Message
}

// texts are the reasons of a level.
func texts(v *mizzen.Verdict, level mizzen.Level) string {
	var all []string
	for _, r := range v.Reasons {
		if r.Level == level && len(all) < maxReasons {
			all = append(all, clip(reasonText(r), maxLine))
		}
	}
	return strings.Join(all, "; ")
}

func deniedText(r *mizzen.Review) string {
	return "policy denies it: " + clip(texts(r.Verdict, mizzen.LevelDeny), maxMessage/2) + "; no approval helps, correct it in Git"
}

func awaitingText(name string, r *mizzen.Review, given []v1alpha1.Approval) string {
	var missing []string
	for _, a := range r.Verdict.Approvals {
		if left := a.Count - len(usersOf(givenTo(a, given))); left > 0 && len(missing) < maxApprovals {
			missing = append(missing, missingText(a, left))
		}
	}
	// The remedy stands at the end, and must not be cut off.
	return clip(texts(r.Verdict, mizzen.LevelApproval), maxMessage/3) + "; needs the approval of " +
		clip(strings.Join(missing, " and "), maxMessage/4) + "; run 'mizzen approve " + name + "'"
}

func missingText(a mizzen.Approval, left int) string {
	who := "somebody who may approve"
	if len(a.Owners) > 0 {
		who = strings.Join(a.Owners[:min(len(a.Owners), maxOwners)], " or ")
	}
	if left > 1 {
		who = fmt.Sprintf("%d of %s", left, who)
	}
	return who
}
