package helm

import (
	"fmt"
	"strings"

	"mizzen.dev/mizzen"
)

const (
	hookAnnotation = "helm.sh/hook"
	testHook       = "test"
)

// leftOut decides what becomes of an object that is a hook: it is left out,
// since nothing runs hooks yet, and the Finding says so. Helm prints hooks
// after all other objects; those of a kind that it does not know it drops.
func leftOut(o mizzen.Object) (mizzen.Finding, bool) {
	events, isHook := o.GetAnnotations()[hookAnnotation]
	if !isHook {
		return mizzen.Finding{}, false
	}
	f := mizzen.Finding{
		Code: mizzen.CodeHookNotRun, Severity: mizzen.Warning,
		Message: fmt.Sprintf("the hook %s is left out: hooks of Helm are not run", events),
		Remedy:  "run what it does by hand, or make it an object without the annotation " + hookAnnotation,
		Ref:     o.Ref(), Origin: o.Origins.Object,
	}
	if onlyTests(events) {
		f.Severity = mizzen.Info
		f.Message = "the test hook is left out"
		f.Remedy = ""
	}
	return f, true
}

func onlyTests(events string) bool {
	for event := range strings.SplitSeq(events, ",") {
		if !strings.HasPrefix(strings.ToLower(strings.TrimSpace(event)), testHook) {
			return false
		}
	}
	return true
}
