package settings_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"mizzen.dev/mizzen/lab/internal/shop/settings"
)

func environment(v map[string]string) func(string) string {
	return func(k string) string { return v[k] }
}

func TestParse(t *testing.T) {
	got, err := settings.Parse(environment(map[string]string{
		"APP": "catalog", "VERSION": "v2", "PORT": "9080", "GRPC_PORT": "off", "ERRORS": "0.25:503",
		"STARTUP_DELAY": "3s", "MEMORY": "64Mi", "GRACE": "2s", "CALLS": "http://reviews/ grpc://orders:9000",
		"CALLS_MODE": "parallel", "TIMEOUT": "1s", "SEED": "7",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Settings{
		App: "catalog", Version: "v2", Port: 9080, ErrorRatio: 0.25, ErrorStatus: 503, StartupDelay: 3 * time.Second,
		MemoryBytes: 64 << 20, Grace: 2 * time.Second, Parallel: true, Timeout: time.Second, Seed: 7,
	}
	ignore := cmpopts.IgnoreFields(settings.Settings{}, "Latency", "Calls")
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Error(diff)
	}
	if len(got.Calls) != 2 || got.Calls[1].Host != "orders:9000" {
		t.Errorf("calls: %v", got.Calls)
	}
}

func TestParseNamesEveryMistake(t *testing.T) {
	bad := map[string]string{
		"APP": "a b", "PORT": "0", "GRPC_PORT": "70000", "LATENCY": "soon", "ERRORS": "1.5", "STARTUP_DELAY": "-1s",
		"MEMORY": "NaN", "GRACE": "2h", "CALLS": "reviews", "CALLS_MODE": "both", "TIMEOUT": "5", "SEED": "x",
	}
	_, err := settings.Parse(environment(bad))
	if err == nil {
		t.Fatal("no error")
	}
	for name := range bad {
		if !strings.Contains(err.Error(), name+": ") {
			t.Errorf("%s is not named in:\n%v", name, err)
		}
	}
}

func TestBadValues(t *testing.T) {
	for name, values := range map[string][]string{
		"LATENCY": {"uniform(2ms,1ms)", "normal(1ms)", "exp(1ms", "pareto(1ms)", "p50=2ms,p40=3ms", "p50=2ms,p60=1ms", "p101=1ms", "pNaN=1ms", "2m", "x=1s"},
		"ERRORS":  {"NaN", "-0.1", "0.1:200", "0.1:x"},
		"MEMORY":  {"1Ti", "-1", "2000Gi", "Mi"},
		"CALLS":   {"http://a/ http://a/", "ftp://a/", "grpc://a/", "http:///x", "http://u:p@a/"},
	} {
		for _, value := range values {
			if _, err := settings.Parse(environment(map[string]string{name: value})); err == nil {
				t.Errorf("%s=%s was accepted", name, value)
			}
		}
	}
}

func TestDistributions(t *testing.T) {
	const ms = float64(time.Millisecond)
	for _, tc := range []struct {
		text                string
		mean, p50, p99, max float64 // in milliseconds; NaN is not checked
	}{
		{"", 0, 0, 0, 0},
		{"50ms", 50, 50, 50, 50},
		{"uniform(10ms, 30ms)", 20, 20, 29.8, 30},
		{"normal(50ms,10ms)", 50, 50, 73.3, math.NaN()},
		{"normal(0ms,10ms)", 3.99, 0, 23.3, math.NaN()}, // nothing is negative
		{"exp(20ms)", 20, 13.9, 92.1, math.NaN()},
		{"p50=10ms,p99=200ms", math.NaN(), 10, 200, 200},
		{"p0=0s,p100=100ms", 50, 50, 99, 100},
	} {
		t.Run(tc.text, func(t *testing.T) {
			d, err := settings.ParseDistribution(tc.text)
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(1, 2))
			samples := make([]float64, 100_000)
			sum := 0.0
			for i := range samples {
				samples[i] = float64(d.Sample(r)) / ms
				sum += samples[i]
			}
			slices.Sort(samples)
			n := len(samples)
			near(t, "mean", sum/float64(n), tc.mean)
			near(t, "p50", samples[n/2], tc.p50)
			near(t, "p99", samples[n*99/100], tc.p99)
			near(t, "max", samples[n-1], tc.max)
			if samples[0] < 0 {
				t.Errorf("negative: %v", samples[0])
			}
		})
	}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.03*want+1e-9 {
		t.Errorf("%s: %.2f ms, want about %.2f ms", what, got, want)
	}
}

func TestSeedRepeats(t *testing.T) {
	d, err := settings.ParseDistribution("exp(20ms)")
	if err != nil {
		t.Fatal(err)
	}
	a, b := rand.New(rand.NewPCG(5, 5)), rand.New(rand.NewPCG(5, 5))
	for range 100 {
		if x, y := d.Sample(a), d.Sample(b); x != y {
			t.Fatalf("%v and %v", x, y)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("p50=10ms,p99=200ms", "0.1:503", "64Mi", "http://a/ grpc://b:1")
	f.Add("normal(1ms,2ms)", "1", "1e9", "http://[::1]:80/x?y")
	f.Add("exp(1m)", "0x1p-3", "-0", "")
	f.Fuzz(func(t *testing.T, latency, failures, memory, calls string) {
		s, err := settings.Parse(environment(map[string]string{"LATENCY": latency, "ERRORS": failures, "MEMORY": memory, "CALLS": calls}))
		if err != nil {
			return
		}
		r := rand.New(rand.NewPCG(1, 1))
		for range 10 {
			if d := s.Latency.Sample(r); d < 0 || d > settings.MaxDuration {
				t.Fatalf("LATENCY=%s takes %v", latency, d)
			}
		}
		if !(s.ErrorRatio >= 0 && s.ErrorRatio <= 1) || s.MemoryBytes < 0 {
			t.Fatalf("%+v", s)
		}
	})
}
