package effect

import "mizzen.dev/mizzen"

// maxAsked bounds how many questions are asked at a door on each side, one for
// every class of callers, request and block of addresses: the more callers, the
// fewer requests, and 300 for as many classes as there are at most
// (BenchmarkManyRules).
const maxAsked = 60_000

// untried tells that the rules for a host tell more requests apart than are
// tried. Silence would read as "nothing else changes".
func (m *meeting) untried() {
	m.found = append(m.found, found{
		code: mizzen.EffectUnknown, impact: mizzen.ImpactNotice, subjects: []string{m.subject(m.host)}, noun: "hosts", namespace: namespaceOf(m.host),
		message: "not everything was tried: the rules tell more requests apart than are compared, so that a rare combination of conditions may have changed too",
		from:    m.all(),
	})
}

// untriedCalls tells the same of the policies of a workload or a host.
func untriedCalls(subject string) found {
	return found{
		code: mizzen.EffectUnknown, impact: mizzen.ImpactNotice, subjects: []string{subject},
		message: "not everything was tried: the policies tell more callers or requests apart than are compared, so that somebody may be let in or refused beside those who are named",
	}
}
