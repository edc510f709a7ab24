package oracle

import (
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"mizzen.dev/mizzen/internal/traffic/match"
	"mizzen.dev/mizzen/test/oracle/internal/generate"
	"mizzen.dev/mizzen/test/oracle/internal/trial"
)

// mistake is a typical defect of a matcher. It is made by giving the right
// matcher another configuration, other options or another request: Envoy got
// the right ones.
type mistake struct {
	name    string
	config  func(*routev3.RouteConfiguration)
	options func(*match.Options)
	request func(*generate.Request)
	outcome func(*match.Outcome)
	// choice compares the chosen route alone: the change of the request shows
	// in other fields, too, which would prove nothing.
	choice bool
}

// eachRoute changes all routes of a configuration.
func eachRoute(change func(*routev3.Route)) func(*routev3.RouteConfiguration) {
	return func(rc *routev3.RouteConfiguration) {
		for _, host := range rc.VirtualHosts {
			for _, route := range host.Routes {
				change(route)
			}
		}
	}
}

func eachMatch(change func(*routev3.RouteMatch)) func(*routev3.RouteConfiguration) {
	return eachRoute(func(r *routev3.Route) { change(r.Match) })
}

func eachAction(change func(*routev3.RouteAction)) func(*routev3.RouteConfiguration) {
	return eachRoute(func(r *routev3.Route) {
		if a := r.GetRoute(); a != nil {
			change(a)
		}
	})
}

// mapPath changes the path of a request and leaves its query.
func mapPath(change func(string) string) func(*generate.Request) {
	return func(r *generate.Request) {
		path, query, asked := strings.Cut(r.Path, "?")
		r.Path = change(path)
		if asked {
			r.Path += "?" + query
		}
	}
}

// mapQuery changes the parameters of a request.
func mapQuery(change func([]string) []string) func(*generate.Request) {
	return func(r *generate.Request) {
		path, query, asked := strings.Cut(r.Path, "?")
		if asked {
			r.Path = path + "?" + strings.Join(change(strings.Split(query, "&")), "&")
		}
	}
}

// firstOnly keeps the first of several headers of one name.
func firstOnly(r *generate.Request) {
	seen := map[string]bool{}
	r.Header = slices.DeleteFunc(slices.Clone(r.Header), func(h [2]string) bool {
		name := strings.ToLower(h[0])
		known := seen[name]
		seen[name] = true
		return known
	})
}

// join makes one header of several of one name.
func join(r *generate.Request) {
	var out [][2]string
	at := map[string]int{}
	for _, h := range r.Header {
		name := strings.ToLower(h[0])
		if i, ok := at[name]; ok {
			out[i][1] += "," + h[1]
			continue
		}
		at[name] = len(out)
		out = append(out, h)
	}
	r.Header = out
}

func testMistakes(t *testing.T, asked []trial.Asked) {
	for _, m := range mistakes {
		caught := m.caught(asked)
		if caught == 0 {
			t.Errorf("no request finds a matcher that %s", m.name)
			continue
		}
		t.Logf("found after %5d requests: a matcher that %s", caught, m.name)
	}
}

// caught returns how many requests it takes until one shows the mistake; 0 if
// none does.
func (m mistake) caught(asked []trial.Asked) int {
	targets := map[*trial.Target]*trial.Target{}
	for i, a := range asked {
		if !a.Agree() {
			continue
		}
		wrong := targets[a.Target]
		if wrong == nil {
			wrong = m.target(a.Target)
			targets[a.Target] = wrong
		}
		got := m.predict(wrong, a.Request)
		if m.choice && (got.Kind != a.Observed.Kind || got.Route != a.Observed.Route) || !m.choice && !reflect.DeepEqual(got, a.Observed) {
			return i + 1
		}
	}
	return 0
}

func (m mistake) target(right *trial.Target) *trial.Target {
	rc, options := proto.CloneOf(right.Config), right.Options
	if m.config != nil {
		m.config(rc)
	}
	if m.options != nil {
		m.options(&options)
	}
	return right.With(rc, options)
}

func (m mistake) predict(target *trial.Target, r generate.Request) trial.Fate {
	wrong := r
	if m.request != nil {
		m.request(&wrong)
	}
	return trial.Predict(target, r, func(t *trial.Target, _ generate.Request) match.Outcome {
		out := trial.Matcher(t, wrong)
		if m.outcome != nil {
			m.outcome(&out)
		}
		return out
	})
}

// lastOfName keeps of the parameters of one name the last, in its place.
func lastOfName(parameters []string) []string {
	var out []string
	for i, p := range parameters {
		name, _, _ := strings.Cut(p, "=")
		again := slices.ContainsFunc(parameters[i+1:], func(other string) bool {
			n, _, _ := strings.Cut(other, "=")
			return n == name
		})
		if !again {
			out = append(out, p)
		}
	}
	return out
}

func decode(parameters []string) []string {
	var out []string
	for _, p := range parameters {
		if d, err := url.QueryUnescape(p); err == nil {
			p = d
		}
		out = append(out, p)
	}
	return out
}
