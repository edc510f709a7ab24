package effect

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/traffic/effect/scenario"
)

func TestExpressionsOf(t *testing.T) {
	for kind, c := range map[string]struct {
		spec string
		want map[mizzen.Path]string
	}{
		"VirtualService": {
			`{http: [{match: [{uri: {regex: a}, headers: {x: {regex: b}, y: {exact: no}}}], rewrite: {uriRegexRewrite: {match: c, rewrite: no}}, corsPolicy: {allowOrigins: [{regex: d}]}}]}`,
			map[mizzen.Path]string{
				"spec.http[0].match[0].uri.regex": "a", "spec.http[0].match[0].headers.x.regex": "b",
				"spec.http[0].rewrite.uriRegexRewrite.match": "c", "spec.http[0].corsPolicy.allowOrigins[0].regex": "d",
			},
		},
		"HTTPRoute": {
			`{rules: [{matches: [{path: {type: RegularExpression, value: a}, headers: [{name: x, type: Exact, value: no}]}]}]}`,
			map[mizzen.Path]string{"spec.rules[0].matches[0].path.value": "a"},
		},
		"ConfigMap": {`{regex: no}`, map[mizzen.Path]string{}},
	} {
		objects, err := scenario.Objects("a.yaml", []byte("kind: "+kind+"\nmetadata: {name: x}\nspec: "+c.spec))
		if err != nil {
			t.Fatal(err)
		}
		got := map[mizzen.Path]string{}
		for _, e := range expressionsOf(objects[0]) {
			got[e.path] = e.text
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
}
