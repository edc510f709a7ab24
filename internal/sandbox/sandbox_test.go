package sandbox

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReport(t *testing.T) {
	var r Report
	for _, p := range required {
		r.add(p, nil)
	}
	r.add(Landlock, errors.New("the kernel is older than 5.13"))
	if !r.Confined() || r.Err() != nil {
		t.Errorf("Landlock is not required: %v", r.Err())
	}
	const want = "active: no_new_privs, closed descriptors, empty environment, resource limits, seccomp; missing: landlock (the kernel is older than 5.13)"
	if r.String() != want {
		t.Errorf("got %q", r)
	}
	var back Report
	if err := json.Unmarshal(r.Encode(), &back); err != nil || cmp.Diff(r, back) != "" {
		t.Errorf("%v %s", err, cmp.Diff(r, back))
	}
	for i := range required {
		var r Report
		for j, p := range required {
			if i == j {
				r.add(p, errors.New("no"))
			} else {
				r.add(p, nil)
			}
		}
		if r.Confined() || r.Err() == nil {
			t.Errorf("without %s it counts as confined", required[i])
		}
	}
}
