package application

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"mizzen.dev/mizzen/api/v1alpha1"
)

// TestSplitByBytes: 2,000 entries with the longest names that there are used to
// make a part that the API server refuses.
func TestSplitByBytes(t *testing.T) {
	for name, c := range map[string]struct {
		entries, length, parts int
	}{
		"none":       {0, 0, 0},
		"one":        {1, 10, 1},
		"many short": {4000, 40, 1},
		"many long":  {4000, 600, 4},
	} {
		var entries []v1alpha1.InventoryEntry
		for i := range c.entries {
			ref := fmt.Sprintf("v1/ConfigMap shop/%s%04d", strings.Repeat("x", c.length), i)
			entries = append(entries, v1alpha1.InventoryEntry{Ref: ref, Version: "v1", Hash: "0123456789abcdef", Managed: "0123456789abcdef"})
		}
		parts := split(entries, maxPart)
		if len(parts) != c.parts {
			t.Errorf("%s: %d parts, want %d", name, len(parts), c.parts)
		}
		next := 0
		for _, part := range parts {
			if b, err := json.Marshal(part); err != nil || len(b) > maxPart+2 {
				t.Errorf("%s: a part of %d bytes (%v)", name, len(b), err)
			}
			for _, e := range part {
				if e.Ref != entries[next].Ref {
					t.Fatalf("%s: entry %d is %s", name, next, e.Ref)
				}
				next++
			}
		}
		if next != c.entries {
			t.Errorf("%s: %d of %d entries", name, next, c.entries)
		}
	}
}
