package health

import (
	"fmt"
	"iter"

	"mizzen.dev/mizzen"
)

// Summary is the health of many objects as one.
type Summary struct {
	// Status is the worst, in the order Healthy, Suspended, Progressing,
	// Unknown, Missing, Degraded. What is certainly broken outweighs what
	// cannot be told. No objects are Healthy.
	Status Status
	// Worst is the object that Status is taken from: the first by identity.
	// It is empty if all are Healthy.
	Worst mizzen.Ref
	// Message names that object, its state, and how many others share it.
	Message string
	// Counts says how many objects have each status.
	Counts map[Status]int
}

// Worst joins the health of many objects. The order in which they come does
// not matter, so a map may be passed as it is.
func Worst(objects iter.Seq2[mizzen.Ref, Judgement]) Summary {
	s := Summary{Status: Healthy, Counts: map[Status]int{}}
	message := ""
	for ref, j := range objects {
		if !j.Status.Valid() {
			j.Status = Unknown
		}
		s.Counts[j.Status]++
		if j.Status == Healthy {
			continue
		}
		worse := j.Status.rank() - s.Status.rank()
		if worse > 0 || worse == 0 && mizzen.CompareRefs(ref, s.Worst) < 0 {
			s.Status, s.Worst, message = j.Status, ref, j.Message
		}
	}
	if s.Status == Healthy {
		return s
	}
	s.Message = s.Worst.String() + " is " + string(s.Status)
	if message != "" {
		s.Message += ": " + message
	}
	if others := s.Counts[s.Status] - 1; others > 0 {
		s.Message += fmt.Sprintf(" (and %d more %s)", others, s.Status)
	}
	return s
}
