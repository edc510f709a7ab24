// Command pilot-discovery is istiod, from Istio's module, for a stock Envoy. In
// come Kubernetes' and Istio's objects, out go certificates and the proxies'
// configuration. Waypoints' listeners always have two filters of Istio's own
// build of Envoy; here they are marked optional, so that a stock Envoy skips
// them. What else a stock Envoy lacks is turned off by the chart's values.
package main

import (
	"os"

	hcm "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"istio.io/istio/pilot/cmd/pilot-discovery/app"
	xdsfilters "istio.io/istio/pilot/pkg/xds/filters"
	"istio.io/istio/pkg/log"
)

func main() {
	log.EnableKlogWithCobra()
	for _, f := range []*hcm.HttpFilter{xdsfilters.WaypointDownstreamMetadataFilter, xdsfilters.WaypointUpstreamMetadataFilter} {
		f.IsOptional = true
	}
	if err := app.NewRootCommand().Execute(); err != nil {
		log.Error(err)
		os.Exit(1)
	}
}
