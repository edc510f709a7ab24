package match

// truth is what is known of a condition.
type truth int8

// A condition holds, does not, or cannot be decided here.
const (
	no     truth = -1
	unsure truth = 0
	yes    truth = 1
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// all is yes if every condition holds, and no as soon as one does not.
func all[T any](conditions []T, f func(T) truth) truth {
	out := yes
	for _, c := range conditions {
		if out = min(out, f(c)); out == no {
			break
		}
	}
	return out
}

// anyOf is yes as soon as one condition holds.
func anyOf[T any](conditions []T, f func(T) truth) truth {
	out := no
	for _, c := range conditions {
		if out = max(out, f(c)); out == yes {
			break
		}
	}
	return out
}
