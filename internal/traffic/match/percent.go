package match

import (
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

func denominator(f *typev3.FractionalPercent) uint64 {
	switch f.GetDenominator() {
	case typev3.FractionalPercent_TEN_THOUSAND:
		return 10_000
	case typev3.FractionalPercent_MILLION:
		return 1_000_000
	}
	return 100
}

// withinShare reports whether a random value falls into a fraction.
func withinShare(f *typev3.FractionalPercent, bucket uint64) bool {
	return bucket%denominator(f) < uint64(f.GetNumerator())
}

// percent returns a fraction as 0..100.
func percent(f *typev3.FractionalPercent) float64 {
	return min(100, 100*float64(f.GetNumerator())/float64(denominator(f)))
}

func percentText(f *typev3.FractionalPercent) string {
	return strconv.FormatFloat(percent(f), 'f', -1, 64)
}

// runtimePercent returns the default of a fraction that runtime may change;
// what is not set is everything.
func runtimePercent(f *corev3.RuntimeFractionalPercent) float64 {
	if f == nil {
		return 100
	}
	return percent(f.GetDefaultValue())
}
