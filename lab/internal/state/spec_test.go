package state

import "testing"

func TestRanges(t *testing.T) {
	for _, c := range []struct {
		pods, services string
		clusters       int
		ok             bool
	}{
		{"10.244.0.0/16", "10.96.0.0/16", 2, true},
		{"10.244.7.0/16", "10.96.0.0/16", 12, true},
		{"10.244.0.0/16", "10.96.0.0/16", 13, false},
		{"10.244.0.0/24", "10.96.0.0/16", 1, false},
		{"10.244.0.0/16", "10.244.0.0/16", 1, false},
		{"10.100.0.0/16", "10.101.0.0/16", 1, true},
		{"10.100.0.0/16", "10.101.0.0/16", 2, false},
		{"fd00::/16", "10.101.0.0/16", 1, false},
		{"", "10.101.0.0/16", 1, false},
		{"some", "10.101.0.0/16", 1, false},
		{"127.0.0.0/16", "10.101.0.0/16", 1, false},
		{"10.101.0.0/16", "169.254.0.0/16", 1, false},
		{"0.0.0.0/16", "10.101.0.0/16", 1, false},
		{"224.0.0.0/16", "10.101.0.0/16", 1, false},
	} {
		err := Spec{PodCIDR: c.pods, ServiceCIDR: c.services}.CheckRanges(c.clusters)
		if (err == nil) != c.ok {
			t.Errorf("pods %s, Services %s, %d clusters: %v", c.pods, c.services, c.clusters, err)
		}
	}
	pods, services, err := Spec{PodCIDR: "10.244.7.0/16", ServiceCIDR: "10.96.0.0/16"}.Ranges(3)
	if err != nil || pods.String() != "10.246.0.0/16" || services.String() != "10.98.0.0/16" {
		t.Errorf("third cluster: %s, %s, %v", pods, services, err)
	}
}
