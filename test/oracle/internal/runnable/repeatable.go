package runnable

import (
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	faultv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/fault/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Bucket is the header whose number stands in for Envoy's dice.
const Bucket = "x-o-bucket"

// faultFilter is what routes name the settings of faults by.
const faultFilter = "envoy.filters.http.fault"

// repeatable makes what Envoy chooses by chance a function of the request: of
// weighted clusters the one that the bucket falls into, and an abort for the
// buckets below its share of a million.
func repeatable(rc *routev3.RouteConfiguration) *routev3.RouteConfiguration {
	rc = proto.CloneOf(rc)
	for _, host := range rc.VirtualHosts {
		for _, route := range host.Routes {
			if w := route.GetRoute().GetWeightedClusters(); w != nil {
				w.RandomValueSpecifier = &routev3.WeightedCluster_HeaderName{HeaderName: Bucket}
			}
			if packed := route.TypedPerFilterConfig[faultFilter]; packed != nil {
				repeatableFault(packed)
			}
		}
	}
	return rc
}

// repeatableFault rewrites an abort of a share as one of all requests with a
// low bucket. A delay of a share is left to chance.
func repeatableFault(packed *anypb.Any) {
	fault := &faultv3.HTTPFault{}
	// What cannot be read is refused by Envoy, which is the test.
	if packed.UnmarshalTo(fault) != nil || fault.Abort == nil || fault.Delay != nil {
		return
	}
	below := Share(fault.Abort.Percentage)
	if below == 0 || below == million {
		return
	}
	fault.Headers = append(fault.Headers, &routev3.HeaderMatcher{
		Name:                 Bucket,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_RangeMatch{RangeMatch: &typev3.Int64Range{Start: 0, End: int64(below)}},
	})
	fault.Abort.Percentage = &typev3.FractionalPercent{Numerator: 100}
	_ = packed.MarshalFrom(fault)
}

const million = 1_000_000

// Share returns a percentage in millionths, at most a million.
func Share(p *typev3.FractionalPercent) uint32 {
	scale := map[typev3.FractionalPercent_DenominatorType]uint64{
		typev3.FractionalPercent_HUNDRED: 10_000, typev3.FractionalPercent_TEN_THOUSAND: 100, typev3.FractionalPercent_MILLION: 1,
	}[p.GetDenominator()]
	return uint32(min(million, uint64(p.GetNumerator())*scale))
}
