// Package policy says whether a change may be carried out. The changes, effects
// and findings of a revision come in, a Verdict goes out: allow, deny, or who
// must approve. It is an ordered chain of pure checks: built-in guardrails, then
// the rules of the repository's own policy file.
//
// Nothing is read here. The caller passes the policy file and CODEOWNERS of the
// base revision: what a pull request proposes must not loosen its own guard.
package policy

import (
	"context"
	"maps"
	"time"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/policy/owners"
)

// FileName is the policy file, at the root of the repository.
const FileName = ".mizzen.yaml"

// judgeTimeout is a last resort: expressions are bounded by their cost, which
// does not depend on the machine.
const judgeTimeout = 10 * time.Second

// Input is what is judged.
type Input struct {
	// Items are the Applications that change.
	Items []Item
	// Effects are those of all Items together. Judge fills in their Owners.
	Effects []mizzen.Effect
	// EffectsUnknown says why there are no Effects although there should be;
	// empty if they are complete.
	EffectsUnknown string
	// Files are the files of the repository that change, where they are known.
	Files []string
	// FilesOmitted tells that more files change than Files names.
	FilesOmitted bool
	// Unreadable says why the policy file that ought to judge, or the one that the
	// change brings, cannot be read, and where; nil if both can.
	Unreadable *mizzen.Finding
	// Owners is CODEOWNERS of the base revision; nil if there is none.
	Owners *owners.File
	// Where tells where a workload ("shop/web") or a host ("reviews.shop:80") is
	// defined; see Places. Nil knows nothing.
	Where func(name string) []Place
}

// Item is one Application and what happens to its objects.
type Item struct {
	// Application is the name that people know it by: namespace/name, or a
	// directory.
	Application string
	Changes     []mizzen.Change
	Findings    []mizzen.Finding
	// Failed says why the Application cannot be planned; empty if it can.
	Failed string
}

// Policy is a set of levels and rules. It is not changed once it is made.
type Policy struct {
	// source is the file that it was read from.
	source   string
	levels   map[string]mizzen.Level
	scopes   []scope
	stateful []string
	rules    []rule
}

// Default returns the guardrails at their built-in levels.
func Default() *Policy { return &Policy{levels: builtInLevels()} }

// Mending returns the policy for a change that brings it in the place of one
// that cannot be read: that the guard changes needs approval, whatever it says.
func (p *Policy) Mending() *Policy {
	mending := *p
	mending.levels = maps.Clone(p.levels)
	mending.levels[guardChangedName] = p.levels[guardChangedName].Stricter(mizzen.LevelApproval)
	return &mending
}

// Judge asks every check. It fills in the Owners of in.Effects. The same input
// gives the same Verdict. A rule that cannot be evaluated counts as triggered.
func (p *Policy) Judge(ctx context.Context, in *Input) mizzen.Verdict {
	ctx, cancel := context.WithTimeout(ctx, judgeTimeout)
	defer cancel()
	f := gather(in)
	v := mizzen.Verdict{Policy: p.source}
	asked := approvals{facts: f}
	for _, g := range guardrails {
		hits := g.find(f, p)
		for _, l := range p.byLevel(g.name, hits) {
			v.Reasons = append(v.Reasons, f.reason(g.name, l.level, g.message, g.remedy, l.hits))
			asked.ask(l.level, l.hits)
		}
	}
	for i := range p.rules {
		r := &p.rules[i]
		hits, message := r.judge(ctx, f)
		if len(hits) == 0 {
			continue
		}
		v.Reasons = append(v.Reasons, f.reason(r.name, r.level, message, r.remedy, hits))
		asked.ask(r.level, hits)
	}
	mizzen.SortReasons(v.Reasons)
	v.Approvals = asked.list()
	v.Decide()
	return v
}

// atLevel are the hits of one rule at one level.
type atLevel struct {
	level mizzen.Level
	hits  []hit
}

// byLevel sorts hits by the level that the places they touch give the
// guardrail; those that are switched off are left out.
func (p *Policy) byLevel(name string, hits []hit) []atLevel {
	byLevel := map[mizzen.Level][]hit{}
	for _, h := range hits {
		level := p.level(name, h)
		byLevel[level] = append(byLevel[level], h)
	}
	var out []atLevel
	for _, level := range mizzen.Levels {
		if level != mizzen.LevelOff && len(byLevel[level]) > 0 {
			out = append(out, atLevel{level, byLevel[level]})
		}
	}
	return out
}
