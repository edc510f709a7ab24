package match

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProbes(t *testing.T) {
	base := Options{Upgrades: []string{"websocket"}}
	cases := map[string]struct {
		change func(o *Options)
		path   string
		want   []string
	}{
		"nothing":            {func(*Options) {}, "/a", nil},
		"the stream's limit": {func(o *Options) { o.MaxStreamDuration = 1 }, "/a", nil},
		"paths":              {func(o *Options) { o.Normalization.MergeSlashes = true }, "/a/b?c=/", []string{"//a/b?c=/", "/zz/../a/b?c=/", "/a%2Fb?c=/", "/a%5Cb?c=/"}},
		"a path of one part": {func(o *Options) { o.Normalization.DotSegments = true }, "/a", []string{"//a", "/zz/../a", "/a%2Fzz", "/a%5Czz"}},
		"the root":           {func(o *Options) { o.Normalization.DotSegments = true }, "/", []string{"//zz", "/zz/../zz", "/zz%2Fzz", "/zz%5Czz"}},
		"underscores":        {func(o *Options) { o.Limits.Underscores = 1 }, "/a", []string{"/a x_user: any"}},
		"a protocol":         {func(o *Options) { o.Upgrades = append(o.Upgrades, "foo") }, "/a", []string{"/a connection: Upgrade upgrade: foo"}},
		"an edge":            {func(o *Options) { o.Arrival.Edge = true }, "/a", []string{"/a x-forwarded-proto: https"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			other := Options{Upgrades: []string{"websocket"}}
			c.change(&other)
			var got []string
			for _, r := range Probes(base, other, get(c.path)) {
				s := r.Path
				for _, h := range r.Headers {
					s += " " + h.Name + ": " + h.Value
				}
				got = append(got, s)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
