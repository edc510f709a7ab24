package health

import (
	"sync"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"mizzen.dev/mizzen/internal/health/script"
)

// plan is how the objects of one kind are judged.
type plan struct {
	// exists: it is enough that the object is there.
	exists bool
	rules  []*ruleset
	script func() (*script.Script, error)
	// builtIn: kstatus knows the kind by name.
	builtIn bool
}

// NeedsObject tells whether an object of the kind must be read in full to be
// judged. For a ConfigMap, a Role and the like its existence is enough, which
// a metadata-only watch tells already.
func (j *Judge) NeedsObject(gk schema.GroupKind) bool { return !j.plan(gk).exists }

// HasRule tells whether something is known about the kind itself: a change of
// such an object's metadata, which comes with every change of its status, is
// worth a GET. Objects of other kinds are judged by the conditions that many
// controllers share.
func (j *Judge) HasRule(gk schema.GroupKind) bool {
	p := j.plan(gk)
	return len(p.rules) > 0 || p.script != nil || p.builtIn && !p.exists
}

func (j *Judge) plan(gk schema.GroupKind) *plan {
	return j.plans.get(gk, func() *plan {
		p := &plan{script: j.corpus.find(gk), builtIn: kstatusKnows(gk)}
		p.rules = append(matching(j.extra, gk), matching(j.own, gk)...)
		p.exists = j.exists[kindName(gk)] && len(matching(j.extra, gk)) == 0
		return p
	})
}

// matching returns the rule sets of a kind: those that name it before those
// that only match it.
func matching(sets []*ruleset, gk schema.GroupKind) []*ruleset {
	var exact, pattern []*ruleset
	for _, set := range sets {
		switch {
		case set.names(gk):
			exact = append(exact, set)
		case set.matches(gk):
			pattern = append(pattern, set)
		}
	}
	return append(exact, pattern...)
}

// kindName is "apps/Deployment", or "ConfigMap" for the core group: the form of
// rules, and of the directories of Argo CD's corpus.
func kindName(gk schema.GroupKind) string {
	if gk.Group == "" {
		return gk.Kind
	}
	return gk.Group + "/" + gk.Kind
}

func kstatusKnows(gk schema.GroupKind) bool {
	probe := &unstructured.Unstructured{}
	probe.SetGroupVersionKind(gk.WithVersion("v1"))
	return status.GetLegacyConditionsFn(probe) != nil
}

// maxPlans bounds the cache: kinds come from repositories, too.
const maxPlans = 4096

// planCache remembers what was looked up for a kind.
type planCache struct {
	mu    sync.RWMutex
	plans map[schema.GroupKind]*plan
}

func (c *planCache) get(gk schema.GroupKind, look func() *plan) *plan {
	c.mu.RLock()
	p := c.plans[gk]
	c.mu.RUnlock()
	if p != nil {
		return p
	}
	p = look()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.plans == nil || len(c.plans) >= maxPlans {
		c.plans = map[schema.GroupKind]*plan{}
	}
	if known := c.plans[gk]; known != nil {
		return known
	}
	c.plans[gk] = p
	return p
}
