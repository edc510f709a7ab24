package mizzen

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// PlanSchema names the form of a Plan as JSON. A field is added without a new
// name; a field that changes its meaning or goes away makes a new one.
const PlanSchema = "mizzen.dev/plan/v1"

// Plan is what a Sync of one Application would do, and what is to be said
// about it.
type Plan struct {
	Schema      string `json:"schema"`
	Application Name   `json:"application"`
	// Cluster is the name of the destination; "in-cluster" for the cluster
	// that holds the Application.
	Cluster string `json:"cluster"`
	Commit  Commit `json:"commit"`
	// Digest is the same for two Plans that do the same (see ComputeDigest).
	Digest string `json:"digest"`
	// Changes are sorted by identity; those with ActionNone are left out.
	Changes  []Change  `json:"changes"`
	Findings []Finding `json:"findings"`
	// Unchanged counts the objects that the cluster already has as they are.
	Unchanged int `json:"unchanged"`
	// Effects are what the step from the synced revision does to traffic, the worst
	// first; nil if they were not asked for, or are not known, which a Finding says
	// then. Verdict is what policy says of that step; nil likewise. The digest
	// covers neither.
	Effects []Effect `json:"effects,omitzero"`
	Verdict *Verdict `json:"verdict,omitempty"`
	// Live says which objects of the cluster complete both sides of that step; nil
	// if none was asked.
	Live *ReviewLive `json:"live,omitempty"`
}

// Counts says how many objects a Plan or a Sync creates, updates and so on.
type Counts struct {
	Created   int `json:"created"`
	Updated   int `json:"updated"`
	Deleted   int `json:"deleted"`
	Kept      int `json:"kept,omitempty"`
	Skipped   int `json:"skipped,omitempty"`
	Unchanged int `json:"unchanged"`
}

// String returns "2 created, 1 updated, 40 unchanged"; zero counts are left
// out, and "nothing to do" stands for no objects at all.
func (c Counts) String() string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(c.Created, "created")
	add(c.Updated, "updated")
	add(c.Deleted, "deleted")
	add(c.Kept, "kept")
	add(c.Skipped, "skipped")
	add(c.Unchanged, "unchanged")
	if len(parts) == 0 {
		return "nothing to do"
	}
	return strings.Join(parts, ", ")
}

// Counts counts the changes by action; a Replace counts as an update.
func (p *Plan) Counts() Counts {
	c := Counts{Unchanged: p.Unchanged}
	for _, change := range p.Changes {
		switch change.Action {
		case Create:
			c.Created++
		case Update, Replace:
			c.Updated++
		case Delete:
			c.Deleted++
		case Keep:
			c.Kept++
		case Skip:
			c.Skipped++
		case None:
			c.Unchanged++
		}
	}
	return c
}

// Deleted are the objects that carrying out the Plan deletes.
func (p *Plan) Deleted() []Ref {
	var refs []Ref
	for _, c := range p.Changes {
		if c.Action == Delete {
			refs = append(refs, c.Ref)
		}
	}
	return refs
}

// Writes tells whether carrying out the Plan changes the cluster.
func (p *Plan) Writes() bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Action.Writes() })
}

// ComputeDigest returns "sha256:…" over the application, the cluster and the
// sorted (object, action, field path, before → after) of every change that
// writes. Revision, time and origin do not count, so that the Plan before a
// push and the one after it agree.
func (p *Plan) ComputeDigest() string {
	type field struct {
		Path          Path
		Before, After any
	}
	type change struct {
		Ref     string
		Action  Action
		Content string
		Fields  []field
		Release []Path `json:",omitempty"`
	}
	changes := make([]change, 0, len(p.Changes))
	for _, c := range p.Changes {
		if !c.Action.Writes() {
			continue
		}
		d := change{Ref: c.Ref.String(), Action: c.Action, Release: c.Release}
		if c.Action == Create || c.Action == Replace {
			d.Content = c.Content
		}
		for _, f := range c.Fields {
			d.Fields = append(d.Fields, field{f.Path, f.Before, f.After})
		}
		changes = append(changes, d)
	}
	slices.SortFunc(changes, func(a, b change) int {
		return strings.Compare(a.Ref+" "+string(a.Action), b.Ref+" "+string(b.Action))
	})
	return digestOf([]any{p.Application.String(), p.Cluster, changes})
}

// digestOf hashes a value that holds nothing but JSON.
func digestOf(v any) string {
	// Maps are encoded with sorted keys, so the bytes are a function of the
	// values. Field values come from JSON, so they always encode.
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("mizzen: plan holds a value that is not JSON: %v", err))
	}
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
