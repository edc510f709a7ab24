package settings

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxDuration bounds every duration that a server is asked to wait.
const MaxDuration = time.Minute

// Distribution is how long something takes, at random. The zero one takes no
// time.
type Distribution struct {
	sample func(*rand.Rand) float64
}

// Sample returns a duration between 0 and MaxDuration.
func (d Distribution) Sample(r *rand.Rand) time.Duration {
	if d.sample == nil {
		return 0
	}
	// Clipped as a float: a large one does not fit a Duration.
	return time.Duration(min(max(d.sample(r), 0), float64(MaxDuration)))
}

// ParseDistribution reads one of
//
//	50ms                 always so long
//	uniform(10ms,50ms)   anything between the two
//	normal(50ms,10ms)    mean and standard deviation; what is below 0 is 0
//	exp(20ms)            exponential, with this mean
//	p50=10ms,p99=200ms   percentiles, rising; straight lines between them, and
//	                     nothing below the first or above the last
func ParseDistribution(s string) (Distribution, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return Distribution{}, nil
	}
	if strings.Contains(s, "=") {
		return percentiles(s)
	}
	name, rest, found := strings.Cut(s, "(")
	if !found {
		d, err := duration(s)
		return Distribution{func(*rand.Rand) float64 { return d }}, err
	}
	list, found := strings.CutSuffix(rest, ")")
	if !found {
		return Distribution{}, fmt.Errorf("%q: the parenthesis is not closed", s)
	}
	var args []float64
	for _, arg := range strings.Split(list, ",") {
		d, err := duration(arg)
		if err != nil {
			return Distribution{}, err
		}
		args = append(args, d)
	}
	return function(name, args)
}

func function(name string, args []float64) (Distribution, error) {
	want, known := map[string]int{"uniform": 2, "normal": 2, "exp": 1}[name]
	if !known {
		return Distribution{}, fmt.Errorf("%q: want uniform, normal or exp", name)
	}
	if len(args) != want {
		return Distribution{}, fmt.Errorf("%s: %d durations, want %d", name, len(args), want)
	}
	switch name {
	case "uniform":
		if args[1] < args[0] {
			return Distribution{}, fmt.Errorf("uniform: the second duration is below the first")
		}
		return Distribution{func(r *rand.Rand) float64 { return args[0] + r.Float64()*(args[1]-args[0]) }}, nil
	case "normal":
		return Distribution{func(r *rand.Rand) float64 { return args[0] + r.NormFloat64()*args[1] }}, nil
	}
	return Distribution{func(r *rand.Rand) float64 { return r.ExpFloat64() * args[0] }}, nil
}

// point says that a share of all durations is below one.
type point struct{ share, value float64 }

func percentiles(s string) (Distribution, error) {
	var points []point
	for _, field := range strings.Split(s, ",") {
		name, text, _ := strings.Cut(strings.TrimSpace(field), "=")
		number, isPercentile := strings.CutPrefix(name, "p")
		percent, err := strconv.ParseFloat(number, 64)
		if !isPercentile || err != nil || !(percent >= 0 && percent <= 100) {
			return Distribution{}, fmt.Errorf("%q: want a percentile from p0 to p100", name)
		}
		value, err := duration(text)
		if err != nil {
			return Distribution{}, err
		}
		p := point{percent / 100, value}
		if n := len(points); n > 0 && (p.share <= points[n-1].share || p.value < points[n-1].value) {
			return Distribution{}, fmt.Errorf("%q: percentiles have to rise", s)
		}
		points = append(points, p)
	}
	return Distribution{func(r *rand.Rand) float64 { return between(points, r.Float64()) }}, nil
}

// between returns the value at a share, by straight lines between the points.
func between(points []point, share float64) float64 {
	i := slices.IndexFunc(points, func(p point) bool { return share < p.share })
	switch i {
	case 0:
		return points[0].value
	case -1:
		return points[len(points)-1].value
	}
	a, b := points[i-1], points[i]
	return a.value + (share-a.share)/(b.share-a.share)*(b.value-a.value)
}

func duration(s string) (float64, error) {
	d, err := ParseDuration(strings.TrimSpace(s))
	return float64(d), err
}

// ParseDuration reads a duration between 0 and MaxDuration.
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration such as 50ms", s)
	}
	if d < 0 || d > MaxDuration {
		return 0, fmt.Errorf("%s: want a duration from 0 to %s", s, MaxDuration)
	}
	return d, nil
}
