package schema

import (
	"slices"
	"strings"
)

// unenforced lists fields of Go types that the published schema calls required
// only because Go encodes their zero value, and that the API server does not
// insist on: tried with a kube-apiserver, one by one. Definitions are named
// without their package.
var unenforced = map[string][]string{
	"CSIDriver":                   {"spec"},
	"CSINode":                     {"spec"},
	"CSINodeSpec":                 {"drivers"},
	"ControllerRevision":          {"revision"},
	"Event":                       {"metadata", "eventTime", "involvedObject"},
	"HTTPHeader":                  {"value"},
	"ISCSIPersistentVolumeSource": {"lun"},
	"ISCSIVolumeSource":           {"lun"},
	"LimitRangeSpec":              {"limits"},
	"PodFailurePolicy":            {"rules"},
	"PreferredSchedulingTerm":     {"preference"},
	"SleepAction":                 {"seconds"},
	"Sysctl":                      {"value"},
	"TokenRequest":                {"audience"},
}

// enforced returns the required fields of a Go type that the API server asks
// for.
func enforced(definition string, n *node) []string {
	short := definition[strings.LastIndexByte(definition, '.')+1:]
	return slices.DeleteFunc(slices.Clone(n.required), func(field string) bool {
		// An absent boolean is false.
		isBool := n.fields[field] != nil && n.fields[field].types == boolean
		return isBool || slices.Contains(unenforced[short], field)
	})
}
