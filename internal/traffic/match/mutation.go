package match

import (
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// mutations orders the levels: by default the less specific come later and win.
func (t *Router) mutations(route, host, config []Mutation) []Mutation {
	if t.rc.GetMostSpecificHeaderMutationsWins() {
		return slices.Concat(config, host, route)
	}
	return slices.Concat(route, host, config)
}

// requestMutated is anything with request header mutations.
type requestMutated interface {
	GetRequestHeadersToAdd() []*corev3.HeaderValueOption
	GetRequestHeadersToRemove() []string
}

// responseMutated is anything with response header mutations.
type responseMutated interface {
	GetResponseHeadersToAdd() []*corev3.HeaderValueOption
	GetResponseHeadersToRemove() []string
}

func requestMutations(m requestMutated) []Mutation {
	return mutationsOf(m.GetRequestHeadersToRemove(), m.GetRequestHeadersToAdd())
}

func responseMutations(m responseMutated) []Mutation {
	return mutationsOf(m.GetResponseHeadersToRemove(), m.GetResponseHeadersToAdd())
}

// mutationsOf lists the mutations of one level: Envoy removes before it adds,
// and leaves out a value that is empty unless it is told to keep it.
func mutationsOf(remove []string, add []*corev3.HeaderValueOption) []Mutation {
	var out []Mutation
	for _, name := range remove {
		out = append(out, Mutation{Action: Remove, Name: name})
	}
	for _, o := range add {
		h := o.GetHeader()
		m := Mutation{Action: mutationAction(o), Name: h.GetKey(), Value: h.GetValue()}
		if m.Value == "" {
			m.Value = string(h.GetRawValue())
		}
		if m.Value != "" || o.GetKeepEmptyValue() {
			out = append(out, m)
		}
	}
	return out
}

func mutationAction(o *corev3.HeaderValueOption) MutationAction {
	//nolint:staticcheck // SA1019: EnvoyFilters still set the deprecated field, and Envoy obeys it.
	if old := o.GetAppend(); old != nil {
		if old.Value {
			return Append
		}
		return Overwrite
	}
	switch o.GetAppendAction() {
	case corev3.HeaderValueOption_ADD_IF_ABSENT:
		return AddIfAbsent
	case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
		return Overwrite
	case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:
		return OverwriteIfExists
	}
	return Append
}

// String says a mutation in words, such as: overwrite x-a: "1".
func (m Mutation) String() string {
	if m.Action == Remove {
		return "remove " + m.Name
	}
	return fmt.Sprintf("%s %s: %q", m.Action, m.Name, m.Value)
}

// Mutate returns headers after mutations, in order; the argument is not
// changed. Command operators in values are left as they are written.
func Mutate(headers []Header, mutations []Mutation) []Header {
	out := slices.Clone(headers)
	for _, m := range mutations {
		named := func(h Header) bool { return strings.EqualFold(h.Name, m.Name) }
		exists := slices.ContainsFunc(out, named)
		replaces := m.Action == Remove || m.Action == Overwrite || m.Action == OverwriteIfExists && exists
		if replaces {
			out = slices.DeleteFunc(out, named)
		}
		adds := m.Action == Append || m.Action == Overwrite || m.Action == AddIfAbsent && !exists || m.Action == OverwriteIfExists && exists
		if adds {
			out = append(out, Header{Name: m.Name, Value: m.Value})
		}
	}
	return out
}
