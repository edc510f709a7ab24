package health

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// condition is one entry of status.conditions, as far as it has the usual form.
type condition struct {
	kind, status, reason, message string
	// stale: it was made for an earlier generation of the object.
	stale bool
}

// conditionsOf returns status.conditions of an object; what is not of the usual
// form is left out.
func conditionsOf(object map[string]any) []condition {
	statusMap, _ := object["status"].(map[string]any)
	list, _ := statusMap["conditions"].([]any)
	return parseConditions(list, generation(object))
}

// parseConditions reads a list of conditions of an object of a generation; 0 is
// an object without one.
func parseConditions(list []any, generation int64) []condition {
	conditions := make([]condition, 0, len(list))
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		c := condition{}
		c.kind, _ = m["type"].(string)
		c.status, _ = m["status"].(string)
		c.reason, _ = m["reason"].(string)
		c.message, _ = m["message"].(string)
		observed, ok := whole(m["observedGeneration"])
		c.stale = ok && generation > 0 && observed < generation
		if c.kind != "" {
			conditions = append(conditions, c)
		}
	}
	return conditions
}

// why is the condition's cause in words: its message, or else its reason.
func (c condition) why() string {
	switch {
	case c.message != "":
		return c.message
	case c.reason != "":
		return c.reason
	}
	return c.kind + " is " + c.status
}

func generation(object map[string]any) int64 {
	metadata, _ := object["metadata"].(map[string]any)
	n, _ := whole(metadata["generation"])
	return n
}

// notObserved tells whether status.observedGeneration is behind the spec. Istio
// writes it as a string, as Protobuf writes 64-bit numbers in JSON.
func notObserved(object map[string]any) (stale bool, message string) {
	statusMap, _ := object["status"].(map[string]any)
	observed, ok := whole(statusMap["observedGeneration"])
	want := generation(object)
	if !ok || want == 0 || observed >= want {
		return false, ""
	}
	return true, fmt.Sprintf("waits for its controller to see generation %d of the spec", want)
}

// whole reads a whole number from JSON.
func whole(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case float64:
		return int64(v), v == float64(int64(v))
	case int:
		return int64(v), true
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	}
	return 0, false
}
