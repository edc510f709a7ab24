package diff

import (
	"reflect"
)

// pair is an element before and after; -1 stands for none.
type pair struct{ before, after int }

// likelyKeys are the fields that tell elements of a list apart, in Kubernetes
// and in most other APIs. They only decide how a difference is told.
var likelyKeys = [][]string{
	{"name"},
	{"containerPort", "protocol"},
	{"port", "protocol"},
	{"mountPath"},
	{"devicePath"},
	{"key"},
	{"ip"},
	{"type"},
	{"topologyKey", "whenUnsatisfiable"},
}

// pairLists matches the elements of two lists: by a key that all of them have
// and no two share, else by position around the part that differs.
func pairLists(before, after []any) []pair {
	for _, keys := range likelyKeys {
		b, okB := keyIndex(before, keys)
		a, okA := keyIndex(after, keys)
		if okB && okA {
			return pairKeyed(before, after, a, b, keys)
		}
	}
	return pairByPosition(before, after)
}

func pairKeyed(before, after []any, a, b map[string]int, keys []string) []pair {
	var pairs []pair
	for i, item := range before {
		key, _ := mergeKey(item, keys)
		if j, ok := a[key]; ok {
			pairs = append(pairs, pair{i, j})
		} else {
			pairs = append(pairs, pair{i, -1})
		}
	}
	for j, item := range after {
		key, _ := mergeKey(item, keys)
		if _, both := b[key]; !both {
			pairs = append(pairs, pair{-1, j})
		}
	}
	return pairs
}

// keyIndex maps keys to positions; ok is false if an element has no key, or
// two have the same.
func keyIndex(list []any, keys []string) (index map[string]int, ok bool) {
	index = make(map[string]int, len(list))
	for i, item := range list {
		key, has := mergeKey(item, keys)
		if _, twice := index[key]; !has || twice {
			return nil, false
		}
		index[key] = i
	}
	return index, true
}

// pairByPosition leaves out what is equal at both ends, so that an element
// that is inserted or removed does not look like a change of all behind it.
func pairByPosition(before, after []any) []pair {
	if len(before) == len(after) {
		pairs := make([]pair, len(before))
		for i := range before {
			pairs[i] = pair{i, i}
		}
		return pairs
	}
	head, tail := 0, 0
	for head < min(len(before), len(after)) && reflect.DeepEqual(before[head], after[head]) {
		head++
	}
	for tail < min(len(before), len(after))-head && reflect.DeepEqual(before[len(before)-1-tail], after[len(after)-1-tail]) {
		tail++
	}
	var pairs []pair
	middleB, middleA := len(before)-tail, len(after)-tail
	for i := head; i < max(middleB, middleA); i++ {
		p := pair{-1, -1}
		if i < middleB {
			p.before = i
		}
		if i < middleA {
			p.after = i
		}
		pairs = append(pairs, p)
	}
	return pairs
}

// indexesIn tells where the elements of a list stand in another form of it.
func indexesIn(list, other []any) map[int]int {
	indexes := make(map[int]int, len(list))
	for _, p := range pairLists(list, other) {
		if p.before >= 0 && p.after >= 0 {
			indexes[p.before] = p.after
		}
	}
	if len(list) == len(other) {
		return indexes
	}
	for i := range min(len(list), len(other)) {
		if _, ok := indexes[i]; !ok && reflect.DeepEqual(list[i], other[i]) {
			indexes[i] = i
		}
	}
	return indexes
}
