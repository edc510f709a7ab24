package live

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"mizzen.dev/mizzen"
)

// ManagedHash returns a hash of the fields that manager applied: of the entry
// with operation Apply, its API version and its fields, but not of its time.
// As long as it is the same, nobody changed, took or deleted one of them. It
// is stable across processes and releases, so it may be stored. ok is false if
// there is no such entry, or one that cannot be read.
func ManagedHash(entries []metav1.ManagedFieldsEntry, manager string) (hash string, ok bool) {
	e := ownEntry(entries, manager)
	if e == nil {
		return "", false
	}
	set, err := fieldsOf(e)
	if err != nil {
		return "", false
	}
	return formatHash(entryHash(e, set)), true
}

func formatHash(h uint64) string { return fmt.Sprintf("%016x", h) }

func parseHash(s string) (uint64, bool) {
	h, err := strconv.ParseUint(s, 16, 64)
	return h, err == nil && len(s) == 16
}

func fieldsOf(e *metav1.ManagedFieldsEntry) (*fieldpath.Set, error) {
	set := &fieldpath.Set{}
	if e.FieldsV1 == nil || e.FieldsV1.Equal(metav1.FieldsV1{}) {
		return set, nil
	}
	if err := set.FromJSON(e.FieldsV1.GetRawReader()); err != nil {
		return nil, fmt.Errorf("managed fields of %q: %w", e.Manager, err)
	}
	return set, nil
}

// entryHash adds up the hashes of all fields. Addition makes it independent of
// the order in which the server writes them (which differs between built-in
// and custom kinds), and lets a field be taken out or put back.
func entryHash(e *metav1.ManagedFieldsEntry, set *fieldpath.Set) uint64 {
	sum := xxhash.Sum64String(e.Manager + "\x00" + string(e.Operation) + "\x00" + e.APIVersion + "\x00" + e.Subresource)
	var add func(parent uint64, s *fieldpath.Set)
	add = func(parent uint64, s *fieldpath.Set) {
		for pe := range s.Members.All() {
			sum += elementHash(parent, pe)
		}
		for pe := range s.Children.All() {
			if child, ok := s.Children.Get(pe); ok {
				// A parent's own hash is salted, so that a member and the way
				// to its children differ.
				add(elementHash(parent^1, pe), child)
			}
		}
	}
	add(0, set)
	return sum
}

// pathHash is what a member at the path contributes to entryHash.
func pathHash(path fieldpath.Path) uint64 {
	var h uint64
	for i, pe := range path {
		if i == len(path)-1 {
			return elementHash(h, pe)
		}
		h = elementHash(h^1, pe)
	}
	return 0
}

func elementHash(parent uint64, pe fieldpath.PathElement) uint64 {
	buf := make([]byte, 8, 64)
	binary.LittleEndian.PutUint64(buf, parent)
	switch {
	case pe.FieldName != nil:
		buf = append(append(buf, 'f'), *pe.FieldName...)
	case pe.Key != nil:
		for _, f := range *pe.Key {
			buf = append(append(buf, 'k'), f.Name...)
			buf = append(append(buf, 0), value.ToString(f.Value)...)
		}
	case pe.Value != nil:
		buf = append(append(buf, 'v'), value.ToString(*pe.Value)...)
	case pe.Index != nil:
		buf = strconv.AppendInt(append(buf, 'i'), int64(*pe.Index), 10)
	}
	return xxhash.Sum64(buf)
}

// pathOf writes a path of managedFields as a Path. A list element is named by
// its keys, [name=web], or its value, [="x"], since its index is not known
// from metadata.
func pathOf(path fieldpath.Path) mizzen.Path {
	var p mizzen.Path
	for _, pe := range path {
		switch {
		case pe.FieldName != nil:
			p = p.Key(*pe.FieldName)
		case pe.Index != nil:
			p = p.Index(*pe.Index)
		default:
			p += mizzen.Path("[" + elementName(pe) + "]")
		}
	}
	return p
}

func elementName(pe fieldpath.PathElement) string {
	if pe.Value != nil {
		return "=" + scalar(*pe.Value)
	}
	if pe.Key == nil {
		return ""
	}
	parts := make([]string, 0, len(*pe.Key))
	for _, f := range *pe.Key {
		parts = append(parts, f.Name+"="+scalar(f.Value))
	}
	return strings.Join(parts, ",")
}

// scalar quotes a string only if it would break the form of the path.
func scalar(v value.Value) string {
	if v != nil && v.IsString() && !strings.ContainsAny(v.AsString(), "[]\"\\,= \n\t") {
		return v.AsString()
	}
	return value.ToString(v)
}
