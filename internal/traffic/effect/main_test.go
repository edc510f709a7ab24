package effect_test

import (
	"os"
	"testing"

	"istio.io/istio/pkg/log"
)

// TestMain keeps istiod's code quiet.
func TestMain(m *testing.M) {
	for _, scope := range log.Scopes() {
		scope.SetOutputLevel(log.NoneLevel)
	}
	os.Exit(m.Run())
}
