package effect

import (
	"cmp"
	"time"

	"mizzen.dev/mizzen"
)

// generation orders objects by age as compile does: what Git held before the
// change, what a cluster says the age of, and what the change brings.
type generation int

const (
	held generation = iota
	live
	fresh
)

// ageOf returns how old an object is; the time is that of a live one.
func (c *changes) ageOf(ref mizzen.Ref) (generation, time.Time) {
	o := c.after[ref]
	if created := o.GetCreationTimestamp(); !created.IsZero() {
		return live, created.Time
	}
	if _, known := c.before[ref]; known {
		return held, time.Time{}
	}
	return fresh, time.Time{}
}

// precedence says by which rule istiod lets one object win over another one that
// is for the same: the older one wins, then the one whose name sorts first
// (sortConfigByCreationTime in istiod's pilot/pkg/model/config.go). It returns
// "" if it is neither, such as where the other one cannot be seen.
func (c *changes) precedence(winner, loser mizzen.Ref) string {
	first, since := c.ageOf(winner)
	second, later := c.ageOf(loser)
	older := cmp.Or(cmp.Compare(first, second), since.Compare(later))
	named := cmp.Or(cmp.Compare(winner.Name, loser.Name), cmp.Compare(winner.Namespace, loser.Namespace))
	switch {
	case older < 0 && first == held && second == live:
		return ", as it is taken to be older (Git held it before; how old it is, Git does not tell)"
	case older < 0:
		return ", as it is older"
	case older > 0 || named > 0:
		return ""
	case first == live:
		return ", as its name sorts first among those of one age"
	case first == fresh:
		return ", as its name sorts first among those that are new"
	}
	return ", as its name sorts first (which one is older, Git does not tell)"
}
