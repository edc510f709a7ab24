package effect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/match"
)

// manners tells how proxies take requests in before they route them: which they
// refuse, how they read paths, and what they believe of headers.
func (u *residue) manners(before, after *listenerv3.FilterChain) {
	b, a := httpManager(before), httpManager(after)
	if b == nil || a == nil || u.c.hash.of(before) == u.c.hash.of(after) {
		return
	}
	f := found{
		code: mizzen.EffectArrival, impact: mizzen.ImpactNotice, subjects: []string{u.from.names[0]}, from: []*peers{u.from},
		message: "how requests are taken in, before they are routed, changes",
	}
	if f.before, f.after = changed(mannersOf(b), mannersOf(a)); f.before == f.after {
		return
	}
	if laxer(match.OptionsOf(b), match.OptionsOf(a)) {
		f.impact = mizzen.ImpactWarning
	}
	f.cause = u.c.mannersCause(u.from.names[0])
	u.c.out.add(f)
}

// laxer tells whether what a policy may rely on is no longer so: paths in one
// form, no headers that look alike to servers, and nothing believed that
// clients say of where they come from.
func laxer(b, a match.Options) bool {
	strict := func(o match.Options) []bool {
		n := o.Normalization
		return []bool{n.DotSegments, n.MergeSlashes, n.UnescapeSlashes || n.RejectSlashes, o.Limits.Underscores != 0, o.Arrival.Edge}
	}
	before, after := strict(b), strict(a)
	for i := range before {
		if before[i] && !after[i] {
			return true
		}
	}
	return a.Arrival.TrustedHops > b.Arrival.TrustedHops
}

// mannersOf reads the settings of a connection manager that decide before a
// route does.
func mannersOf(m *hcmv3.HttpConnectionManager) fields {
	var f fields
	words := func(name string, on bool, yes, no string) {
		f.set(name, map[bool]string{true: yes, false: no}[on])
	}
	protocol, h2 := m.GetCommonHttpProtocolOptions(), m.GetHttp2ProtocolOptions()
	words("dots in paths", m.GetNormalizePath().GetValue(), "resolved", "kept")
	words("double slashes", m.GetMergeSlashes(), "merged", "kept")
	f.set("escaped slashes", slashWords[m.GetPathWithEscapedSlashesAction()])
	f.set("headers with underscores", underscoreWords[protocol.GetHeadersWithUnderscoresAction()])
	f.set("upgrades to", strings.Join(match.OptionsOf(m).Upgrades, " and "))
	f.set("X-Forwarded headers", forwardedWords(m))
	words("request IDs", m.GetPreserveExternalRequestId(), "kept", "made anew at the edge")
	f.set("client certificates", strings.ToLower(strings.ReplaceAll(m.GetForwardClientCertDetails().String(), "_", " ")))
	limit := func(name string, n uint32, unit string) {
		if n > 0 {
			f.set(name, fmt.Sprintf("at most %d%s", n, unit))
		}
	}
	limit("headers", protocol.GetMaxHeadersCount().GetValue(), "")
	limit("header bytes", m.GetMaxRequestHeadersKb().GetValue(), " KiB")
	limit("streams of a connection", h2.GetMaxConcurrentStreams().GetValue(), "")
	limit("window of a stream", h2.GetInitialStreamWindowSize().GetValue()>>10, " KiB")
	limit("window of a connection", h2.GetInitialConnectionWindowSize().GetValue()>>10, " KiB")
	f.set("idle connections", spanOrEver(protocol.GetIdleTimeout()))
	f.set("idle streams", spanOrEver(m.GetStreamIdleTimeout()))
	f.set("headers within", spanOrEver(m.GetRequestHeadersTimeout()))
	f.set("requests within", spanOrEver(m.GetRequestTimeout()))
	return f
}

// withoutManners leaves out what mannersOf tells, and streams' duration, which
// routes tell.
func withoutManners(m *hcmv3.HttpConnectionManager) {
	m.NormalizePath, m.MergeSlashes, m.PathWithEscapedSlashesAction = nil, false, 0
	m.UseRemoteAddress, m.XffNumTrustedHops, m.PreserveExternalRequestId, m.ForwardClientCertDetails = nil, 0, false, 0
	m.MaxRequestHeadersKb, m.StreamIdleTimeout, m.RequestHeadersTimeout, m.RequestTimeout = nil, nil, nil, nil
	m.UpgradeConfigs = slices.DeleteFunc(slices.Clone(m.UpgradeConfigs), func(u *hcmv3.HttpConnectionManager_UpgradeConfig) bool { return len(u.GetFilters()) == 0 })
	if p := m.CommonHttpProtocolOptions; p != nil {
		p = proto.Clone(p).(*corev3.HttpProtocolOptions)
		p.HeadersWithUnderscoresAction, p.MaxHeadersCount, p.IdleTimeout, p.MaxStreamDuration = 0, nil, nil, nil
		m.CommonHttpProtocolOptions = unlessEmpty(p)
	}
	if p := m.Http2ProtocolOptions; p != nil {
		p = proto.Clone(p).(*corev3.Http2ProtocolOptions)
		p.MaxConcurrentStreams, p.InitialStreamWindowSize, p.InitialConnectionWindowSize = nil, nil, nil
		m.Http2ProtocolOptions = unlessEmpty(p)
	}
}

// unlessEmpty returns nil for a message that says nothing.
func unlessEmpty[M proto.Message](m M) M {
	if proto.Size(m) == 0 {
		var none M
		return none
	}
	return m
}

var slashWords = map[hcmv3.HttpConnectionManager_PathWithEscapedSlashesAction]string{
	hcmv3.HttpConnectionManager_IMPLEMENTATION_SPECIFIC_DEFAULT: "kept",
	hcmv3.HttpConnectionManager_KEEP_UNCHANGED:                  "kept",
	hcmv3.HttpConnectionManager_REJECT_REQUEST:                  "refused",
	hcmv3.HttpConnectionManager_UNESCAPE_AND_REDIRECT:           "redirected to the path without",
	hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD:            "decoded",
}

var underscoreWords = map[corev3.HttpProtocolOptions_HeadersWithUnderscoresAction]string{
	corev3.HttpProtocolOptions_ALLOW:          "kept",
	corev3.HttpProtocolOptions_REJECT_REQUEST: "refused",
	corev3.HttpProtocolOptions_DROP_HEADER:    "dropped",
}

// forwardedWords tells whether clients are believed where they come from.
func forwardedWords(m *hcmv3.HttpConnectionManager) string {
	hops := m.GetXffNumTrustedHops()
	switch {
	case !m.GetUseRemoteAddress().GetValue():
		return cmp.Or(hopWords(hops), "believed")
	case hops == 0:
		return "not believed"
	}
	return "believed of " + hopWords(hops)
}

func hopWords(n uint32) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 proxy before"
	}
	return fmt.Sprintf("%d proxies before", n)
}

// spanOrEver tells a time limit, of which 0 is none.
func spanOrEver(d *durationpb.Duration) string {
	if d != nil && d.AsDuration() == 0 {
		return "without limit"
	}
	return duration(d)
}

// mannersCause is what may change how proxies take requests in: an EnvoyFilter,
// the workload, whose pods may ask something of theirs, or the mesh's settings.
func (c *comparison) mannersCause(workload string) cause {
	if refs := c.changes.ofKind("EnvoyFilter"); len(refs) > 0 {
		return c.oneOf(refs, namespaceOfWorkload(workload), hints{"configPatches"})
	}
	if found, ok := c.workloadCause(workload); ok {
		return found
	}
	return c.oneOf(c.meshConfig(), "", hints{"mesh"})
}

// workloadCause is the object of a workload, if it changed.
func (c *comparison) workloadCause(workload string) (cause, bool) {
	for _, ref := range c.changes.ofKinds("Deployment", "StatefulSet", "DaemonSet") {
		if ref.Namespace+"/"+ref.Name == workload {
			return c.oneOf([]mizzen.Ref{ref}, "", hints{"proxy.istio.io/config"}), true
		}
	}
	return cause{}, false
}

// mannersDiffer tells whether an entry's two sides may take one request for
// different ones.
func (m *meeting) mannersDiffer() bool {
	return m.from != nil && m.to != nil && !sameManners(m.from.options, m.to.options)
}

func sameManners(b, a match.Options) bool {
	return b.Limits == a.Limits && b.Normalization == a.Normalization && b.Arrival == a.Arrival && slices.Equal(b.Upgrades, a.Upgrades) &&
		b.StripPort == a.StripPort && b.StripTrailingDot == a.StripTrailingDot && b.MaxStreamDuration == a.MaxStreamDuration
}

// mannersKey tells meetings apart by how the sides take requests in.
func (m *meeting) mannersKey() string {
	if !m.mannersDiffer() {
		return ""
	}
	return fmt.Sprint(m.from.options, m.to.options)
}

// tellReading tells that servers see another path, in words that are the same
// for all hosts, since one setting does it for all of them.
func (m *meeting) tellReading(before, after string) {
	f := found{code: mizzen.EffectRewrite, impact: mizzen.ImpactWarning, message: "what servers see of some requests changes", shown: [2]string{before, after}}
	f.before, f.after = changed(m.from.manners, m.to.manners)
	m.tell(f, nil)
}

// probes adds variations of the simplest requests where the sides may take them
// for different ones.
func (m *meeting) probes(requests []match.Request) []match.Request {
	const varied = 4
	if !m.mannersDiffer() {
		return requests
	}
	out := requests
	for _, r := range requests[:min(len(requests), varied)] {
		out = append(out, match.Probes(m.from.options, m.to.options, r)...)
	}
	return out
}
