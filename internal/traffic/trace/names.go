package trace

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic"
)

// nearest bounds the names that a remedy lists.
const nearest = 5

// labels that tell what a workload is a version of, the best first.
var familyLabels = []string{"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"}

// callers are the workloads that a name means: the one of that name, or those
// whose labels say that they are versions of it.
func callers(mesh *traffic.Mesh, name string) ([]*traffic.Workload, error) {
	var family []*traffic.Workload
	namespace, short, qualified := strings.Cut(name, "/")
	if !qualified {
		namespace, short = "", name
	}
	for _, w := range mesh.Workloads {
		if w.Name == name {
			return []*traffic.Workload{w}, nil
		}
		if qualified && w.Namespace != namespace {
			continue
		}
		own := strings.TrimPrefix(w.Name, w.Namespace+"/")
		isMember := slices.ContainsFunc(familyLabels, func(label string) bool { return w.Labels[label] == short })
		if own == short || isMember {
			family = append(family, w)
		}
	}
	if spread := namespaces(family); len(spread) > 1 {
		return nil, &mizzen.Error{
			Kind: mizzen.Invalid, Object: "caller " + name, Err: fmt.Errorf("it is in the namespaces %s", strings.Join(spread, ", ")),
			Remedy: "write it as namespace/name",
		}
	}
	if len(family) == 0 {
		all := make([]string, 0, len(mesh.Workloads))
		for _, w := range mesh.Workloads {
			all = append(all, w.Name)
		}
		return nil, &mizzen.Error{
			Kind: mizzen.NotFound, Object: "caller " + name, Err: errors.New("no workload has this name"),
			Remedy: suggest(name, all, "name a workload as namespace/name, or outside"),
		}
	}
	return family, nil
}

func namespaces(workloads []*traffic.Workload) []string {
	var all []string
	for _, w := range workloads {
		all = append(all, w.Namespace)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// suggest is a remedy that lists the names most like one that does not exist.
func suggest(name string, among []string, otherwise string) string {
	type near struct {
		name     string
		distance int
	}
	most := max(3, len(name)/2)
	var found []near
	for _, other := range among {
		d := distance(name, other)
		if strings.Contains(other, name) {
			d = 1
		}
		if d <= most {
			found = append(found, near{other, d})
		}
	}
	slices.SortFunc(found, func(a, b near) int { return cmp.Or(cmp.Compare(a.distance, b.distance), cmp.Compare(a.name, b.name)) })
	found = slices.CompactFunc(found, func(a, b near) bool { return a.name == b.name })
	if len(found) == 0 {
		return otherwise
	}
	var names []string
	for _, n := range found[:min(len(found), nearest)] {
		names = append(names, n.name)
	}
	return "did you mean " + strings.Join(names, ", ") + "?"
}

// longest bounds the names that are compared letter by letter.
const longest = 100

// distance counts the letters to add, drop or change between two names.
func distance(a, b string) int {
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
