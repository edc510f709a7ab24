package match

import (
	"slices"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// OptionsOf returns how a connection manager treats requests before it routes
// them.
func OptionsOf(m *hcmv3.HttpConnectionManager) Options {
	escaped := m.GetPathWithEscapedSlashesAction()
	protocol := m.GetCommonHttpProtocolOptions()
	return Options{
		Limits: Limits{
			HeaderKiB:   m.GetMaxRequestHeadersKb().GetValue(),
			Headers:     protocol.GetMaxHeadersCount().GetValue(),
			Underscores: protocol.GetHeadersWithUnderscoresAction(),
		},
		Normalization: Normalization{
			UnescapeSlashes: escaped == hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD || escaped == hcmv3.HttpConnectionManager_UNESCAPE_AND_REDIRECT,
			RedirectSlashes: escaped == hcmv3.HttpConnectionManager_UNESCAPE_AND_REDIRECT,
			RejectSlashes:   escaped == hcmv3.HttpConnectionManager_REJECT_REQUEST,
			DotSegments:     m.GetNormalizePath().GetValue(),
			MergeSlashes:    m.GetMergeSlashes(),
		},
		Arrival:           arrivalOf(m),
		Upgrades:          upgradesOf(m),
		StripPort:         m.GetStripAnyHostPort(),
		StripMatchingPort: m.GetStripMatchingHostPort(),
		StripTrailingDot:  m.GetStripTrailingHostDot(),
		MaxStreamDuration: duration(protocol.GetMaxStreamDuration()),
		Unsure:            doubtsOf(m),
	}
}

func upgradesOf(m *hcmv3.HttpConnectionManager) []string {
	var out []string
	for _, u := range m.GetUpgradeConfigs() {
		if u.GetEnabled() == nil || u.GetEnabled().GetValue() {
			out = append(out, u.GetUpgradeType())
		}
	}
	return out
}

// doubtsOf names what only EnvoyFilters set, and what changes what becomes of
// requests in ways that are not followed here.
func doubtsOf(m *hcmv3.HttpConnectionManager) []string {
	var out []string
	for _, d := range []struct {
		set  bool
		what string
	}{
		{m.GetScopedRoutes() != nil, "the connection manager chooses its routes by scope"},
		{len(m.GetEarlyHeaderMutationExtensions()) > 0, "the connection manager changes headers before it routes"},
		{m.GetSchemeHeaderTransformation() != nil, "the connection manager changes the scheme"},
		{len(m.GetOriginalIpDetectionExtensions()) > 0, "the connection manager learns by an extension where a request comes from"},
		{m.GetTypedHeaderValidationConfig() != nil, "the connection manager validates headers by an extension"},
		{m.GetLocalReplyConfig() != nil, "the connection manager changes the answers that Envoy gives itself"},
	} {
		if d.set {
			out = append(out, d.what)
		}
	}
	for _, u := range m.GetUpgradeConfigs() {
		if len(u.GetFilters()) > 0 {
			out = append(out, "requests that change to "+u.GetUpgradeType()+" pass other filters")
		}
	}
	for _, f := range m.GetHttpFilters() {
		// istiod leaves it to the routes what faults are injected.
		if f.GetName() == faultFilter && len(f.GetTypedConfig().GetValue()) > 0 {
			out = append(out, "faults are injected whatever the route says")
		}
	}
	return out
}

// doubts are what is not understood of the connection manager and matters for a
// request.
func (o *Options) doubts(req *Request) []string {
	out := slices.Clip(o.Unsure)
	if o.StripMatchingPort && portStart(req.Host) >= 0 {
		out = append(out, "the port of the host is removed if the listener has it")
	}
	return out
}
