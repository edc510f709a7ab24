package trial

import (
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"mizzen.dev/mizzen/internal/traffic/match"
)

func optionsOf(m *hcmv3.HttpConnectionManager) match.Options {
	return match.Options{
		WithoutTried: true, StripPort: m.GetStripAnyHostPort(), StripTrailingDot: m.StripTrailingHostDot,
		Normalization: match.Normalization{
			DotSegments: m.GetNormalizePath().GetValue(), MergeSlashes: m.MergeSlashes,
			UnescapeSlashes: m.PathWithEscapedSlashesAction == hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD,
		},
	}
}
