package application

import (
	"testing"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// TestHeldApplicationWaitsForNoCommit: a rollback of an Application with
// dependencies waited until they were at the old commit, which they never are.
func TestHeldApplicationWaitsForNoCommit(t *testing.T) {
	of := func(change func(*v1alpha1.ApplicationSpec)) *v1alpha1.Application {
		app := &v1alpha1.Application{}
		app.Spec.Source.Repository = "demo"
		change(&app.Spec)
		return app
	}
	plain := of(func(*v1alpha1.ApplicationSpec) {})
	for name, c := range map[string]struct {
		other *v1alpha1.Application
		want  bool
	}{
		"same":             {of(func(*v1alpha1.ApplicationSpec) {}), true},
		"held":             {of(func(s *v1alpha1.ApplicationSpec) { s.Hold = &v1alpha1.Hold{Revision: "abc"} }), false},
		"other repository": {of(func(s *v1alpha1.ApplicationSpec) { s.Source.Repository = "other" }), false},
		"other revision":   {of(func(s *v1alpha1.ApplicationSpec) { s.Source.Revision = "v1" }), false},
	} {
		if got := together(plain, c.other); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if got := together(c.other, plain); got != c.want {
			t.Errorf("%s, the other way round: %v, want %v", name, got, c.want)
		}
	}
}
