package mizzen

import (
	"cmp"
	"slices"
	"strings"
)

// ReviewSchema names the form of a Review as JSON; see PlanSchema.
const ReviewSchema = "mizzen.dev/review/v1"

// Review is what the difference of two revisions of a repository does: to
// traffic, and to the objects of every Application. No cluster has a say in it
// but by Live.
type Review struct {
	Schema string `json:"schema"`
	// Base is where Head parted from the revision that was asked for, and Head
	// what is under review; the ID of a working tree with changes is "".
	Base Commit `json:"base"`
	Head Commit `json:"head"`
	// Digest is the same for two Reviews that change the same.
	Digest string `json:"digest"`
	// Verdict is what the policy of Base says; nil if it was not asked.
	Verdict *Verdict `json:"verdict,omitempty"`
	// Effects are sorted, the worst first.
	Effects []Effect `json:"effects"`
	// EffectsUnknown says why those of a cluster are not known; empty if all are.
	EffectsUnknown string `json:"effectsUnknown,omitempty"`
	// Findings are about the repository as a whole, and new at Head.
	Findings []Finding `json:"findings"`
	// Items are the Applications that differ or cannot be rendered, sorted by
	// name and cluster. Unchanged counts the others.
	Items     []ReviewItem `json:"items"`
	Unchanged int          `json:"unchanged"`
	// Live says which objects of a cluster complete both sides; nil if none was
	// asked.
	Live *ReviewLive `json:"live,omitempty"`
	// Omitted says what the Review does not cover, such as an Application of
	// another repository.
	Omitted []Finding `json:"omitted,omitempty"`
}

// ReviewLive are objects that Git does not hold. They are the same on both
// sides, but for what goes with the change.
type ReviewLive struct {
	// Server is the API server that has them, Cluster the cluster or environment
	// of the repository that it is; empty if there is but one.
	Server  string `json:"server"`
	Cluster string `json:"cluster,omitempty"`
	// Objects counts them.
	Objects int `json:"objects"`
}

// ReviewItem is what happens to one Application.
type ReviewItem struct {
	// Application is the name that people know it by: namespace/name, or a
	// directory.
	Application string `json:"application"`
	// Kind is that of the manifest that declares it, with its group, such as
	// Application.argoproj.io; empty for a directory that none declares.
	Kind string `json:"kind,omitempty"`
	// Cluster is where it goes, as far as the repository tells.
	Cluster string `json:"cluster,omitempty"`
	// Path is the directory that is rendered, at Head if it is there.
	Path string `json:"path"`
	// Action is Create if only Head has the Application, Delete if only Base
	// has it, else Update.
	Action Action `json:"action"`
	// Origin is where it is declared.
	Origin Origin `json:"origin,omitzero"`
	// Changes are sorted by identity; Secrets are masked.
	Changes []Change `json:"changes"`
	// Findings are those that are new at Head.
	Findings []Finding `json:"findings"`
	// Unchanged counts the objects that stay as they are.
	Unchanged int `json:"unchanged"`
	// Failed says why Head cannot be rendered; nothing of the Application is
	// compared then. FailedBefore says so of Base.
	Failed       string `json:"failed,omitempty"`
	FailedBefore string `json:"failedBefore,omitempty"`
}

// Counts counts the changes of the item by action.
func (i *ReviewItem) Counts() Counts {
	p := Plan{Changes: i.Changes, Unchanged: i.Unchanged}
	return p.Counts()
}

// Broken tells whether the item cannot be rendered any more.
func (i *ReviewItem) Broken() bool { return i.Failed != "" && i.Failed != i.FailedBefore }

// Counts counts the changes of all items; objects of unchanged Applications
// are not in it.
func (r *Review) Counts() Counts {
	var sum Counts
	for i := range r.Items {
		c := r.Items[i].Counts()
		sum.Created += c.Created
		sum.Updated += c.Updated
		sum.Deleted += c.Deleted
		sum.Kept += c.Kept
		sum.Skipped += c.Skipped
		sum.Unchanged += c.Unchanged
	}
	return sum
}

// Changed tells whether anything is different: an object, an effect, that
// something cannot be rendered any more or again, or something that the Review
// cannot look into.
func (r *Review) Changed() bool {
	return len(r.Effects)+r.Unseen() > 0 || slices.ContainsFunc(r.Items, func(i ReviewItem) bool {
		return len(i.Changes) > 0 || i.Failed != i.FailedBefore
	})
}

// Unseen counts what changes and what the Review cannot look into.
func (r *Review) Unseen() int {
	n := 0
	for _, f := range r.AllFindings() {
		if f.Code == CodeUnseen {
			n++
		}
	}
	return n
}

// Fatal tells whether the change must not be synced as it is: an Application
// cannot be rendered any more, or a new Finding is Fatal.
func (r *Review) Fatal() bool { return Worst(r.AllFindings()) == Fatal }

// AllFindings are those of the repository and of every item, sorted.
func (r *Review) AllFindings() []Finding {
	all := slices.Clone(r.Findings)
	for _, i := range r.Items {
		all = append(all, i.Findings...)
	}
	SortFindings(all)
	return all
}

// Finish sorts what is in the Review and fills in the digest. Lists that are
// nil become empty, so that programs find a list.
func (r *Review) Finish() {
	r.Schema = ReviewSchema
	if r.Effects == nil {
		r.Effects = []Effect{}
	}
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	if r.Items == nil {
		r.Items = []ReviewItem{}
	}
	for i := range r.Items {
		item := &r.Items[i]
		if item.Changes == nil {
			item.Changes = []Change{}
		}
		if item.Findings == nil {
			item.Findings = []Finding{}
		}
		SortChanges(item.Changes)
		SortFindings(item.Findings)
	}
	SortEffects(r.Effects)
	SortFindings(r.Findings)
	SortFindings(r.Omitted)
	slices.SortStableFunc(r.Items, func(a, b ReviewItem) int {
		return cmp.Or(cmp.Compare(a.Application, b.Application), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Kind, b.Kind))
	})
	r.Digest = r.computeDigest()
}

// computeDigest covers what changes of which Application, like the digest of a
// Plan: revisions, times and places do not count.
func (r *Review) computeDigest() string {
	type part struct {
		Application, Kind, Cluster, Digest string
	}
	parts := make([]part, 0, len(r.Items))
	for _, i := range r.Items {
		if len(i.Changes) == 0 {
			continue
		}
		p := Plan{Changes: i.Changes}
		parts = append(parts, part{i.Application, i.Kind, i.Cluster, p.ComputeDigest()})
	}
	return digestOf(parts)
}

// ApprovalDigest identifies what somebody agrees to who approves the Review: the
// step from Base, the changes, their effects, and what policy says of them. The
// revision of Head, times and places do not count, so that an approval survives
// a rebase; it does not survive its use, since Base is another one then. Callers
// count by their namespaces, so that a pod that comes or goes asks nobody again.
func (r *Review) ApprovalDigest() string {
	type effect struct {
		Code                                     EffectCode
		Impact                                   Impact
		Cluster, Subject, Message, Before, After string
		Callers                                  []string
	}
	effects := make([]effect, 0, len(r.Effects))
	for _, e := range r.Effects {
		effects = append(effects, effect{e.Code, e.Impact, e.Cluster, e.Subject, e.Message, e.Before, e.After, namespaces(e.Callers)})
	}
	return digestOf([]any{r.Base.ID, r.computeDigest(), effects, r.Verdict.essence()})
}

// namespaces are those of workloads, sorted; what is not in one stays as it is.
func namespaces(workloads []string) []string {
	var all []string
	for _, w := range workloads {
		namespace, _, _ := strings.Cut(w, "/")
		all = append(all, namespace)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
