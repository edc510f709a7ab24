package specs

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/config/schema/resource"

	"mizzen.dev/mizzen"
	"mizzen.dev/mizzen/internal/meshtest"
)

// kinds are Istio's, by name.
var kinds = func() map[string]resource.Schema {
	found := map[string]resource.Schema{}
	for _, s := range collections.Istio.All() {
		found[s.Kind()] = s
	}
	return found
}()

// corpus returns objects of Istio's kinds that are valid.
func corpus(t testing.TB) (valid []mizzen.Object) {
	t.Helper()
	manifests, err := os.ReadFile(filepath.Join("..", "..", "lint", "testdata", "valid", "mesh.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	city, err := meshtest.Read(meshtest.City(2))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range slices.Concat(meshtest.Objects(t, string(manifests)), city) {
		kind := o.GroupVersionKind()
		if _, ok := collections.Istio.FindByGroupVersionAliasesKind(resource.FromKubernetesGVK(&kind)); ok {
			valid = append(valid, o)
		}
	}
	if len(valid) < 12 {
		t.Fatalf("a corpus of %d objects", len(valid))
	}
	return valid
}

// byJSON does what Fill stands in for.
func byJSON(spec config.Spec, content any) error {
	b, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return config.ApplyJSON(spec, string(b))
}

// same fails unless Fill makes of content what Istio makes of it.
func same(t *testing.T, kind string, content any) {
	t.Helper()
	got, want := kinds[kind].MustNewInstance(), kinds[kind].MustNewInstance()
	gotErr, wantErr := Fill(got, content), byJSON(want, content)
	if (gotErr == nil) != (wantErr == nil) || gotErr != nil && gotErr.Error() != wantErr.Error() {
		t.Fatalf("%s %v: error %v, want %v", kind, content, gotErr, wantErr)
	}
	if wantErr == nil && !proto.Equal(got.(proto.Message), want.(proto.Message)) {
		t.Fatalf("%s %v:\n%v, want\n%v", kind, content, got, want)
	}
}

// What people write is plain.
func TestFill(t *testing.T) {
	for _, o := range corpus(t) {
		spec := o.Object["spec"]
		if m := kinds[o.GetKind()].MustNewInstance().(proto.Message); !message(m.ProtoReflect(), spec) {
			t.Errorf("%s goes by JSON", o.Ref())
		}
		same(t, o.GetKind(), spec)
	}
}

// odd are values that stand where another was.
var odd = []any{
	nil, true, "", "x", "7", "1s", "\xff", int64(0), int64(-1), int64(math.MaxInt64), 0.5, 1.0, 1e30, math.NaN(), math.Inf(1), 7,
	[]any{},
	[]any{nil},
	[]any{"x", int64(1)},
	[]any{map[string]any{}},
	map[string]any{},
	map[string]any{"x": nil},
	map[string]any{"value": true},
	map[string]any{"\xff": "x"},
}

// Whatever else stands in a field means what Istio makes of it.
func TestFillOdd(t *testing.T) {
	for _, o := range corpus(t) {
		spec := o.Object["spec"].(map[string]any)
		everywhere(spec, func() { same(t, o.GetKind(), spec) })
		same(t, o.GetKind(), spec)
	}
	for _, content := range append(odd, map[string]any(nil), []any(nil)) {
		same(t, "VirtualService", content)
	}
}

// everywhere calls visit with every value below a value in turn replaced by
// every odd one.
func everywhere(value any, visit func()) {
	var keep func(any)
	try := func(child any) {
		for _, other := range odd {
			keep(other)
			visit()
		}
		keep(child)
		everywhere(child, visit)
	}
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			keep = func(other any) { v[key] = other }
			try(v[key])
		}
	case []any:
		for i, child := range v {
			keep = func(other any) { v[i] = other }
			try(child)
		}
	}
}

// Names that are not those of JSON, and fields that exclude each other.
func TestFillNames(t *testing.T) {
	for kind, contents := range map[string][]map[string]any{
		"VirtualService": {
			{"export_to": []any{"."}},
			{"export_to": []any{"."}, "exportTo": []any{"*"}},
			{"Hosts": []any{"a"}},
			{"unknown": "x", "hosts": []any{"a"}},
			{"http": []any{map[string]any{"match": []any{map[string]any{"uri": map[string]any{"exact": "/a", "prefix": "/b", "regex": "c"}}}}}},
			{"http": []any{map[string]any{"match": []any{map[string]any{"uri": map[string]any{"exact": nil, "prefix": "/b"}}}}}},
		},
		"DestinationRule": {
			{"trafficPolicy": map[string]any{"loadBalancer": map[string]any{"simple": int64(1)}}},
			{"trafficPolicy": map[string]any{"loadBalancer": map[string]any{"simple": "RANDOM", "consistentHash": map[string]any{}}}},
			{"trafficPolicy": map[string]any{"loadBalancer": map[string]any{"consistentHash": map[string]any{"httpCookie": map[string]any{"name": "a", "ttl": "0s"}}}}},
			{"trafficPolicy": map[string]any{"outlierDetection": map[string]any{"consecutive5xxErrors": int64(5), "interval": "-1.5s"}}},
		},
		"PeerAuthentication": {
			{"portLevelMtls": map[string]any{"80": map[string]any{"mode": "DISABLE"}, "081": map[string]any{}}},
			{"portLevelMtls": map[string]any{"-1": map[string]any{}}},
			{"portLevelMtls": map[string]any{"4294967296": map[string]any{}}},
		},
		"EnvoyFilter": {
			{"configPatches": []any{map[string]any{"patch": map[string]any{"value": map[string]any{
				"list": []any{int64(1), 1.5, nil, true, "a", []any{}, map[string]any{}}, "@type": "a", "number": int64(math.MaxInt64),
			}}}}},
		},
	} {
		for _, content := range contents {
			same(t, kind, content)
		}
	}
}

func FuzzFill(f *testing.F) {
	for _, o := range corpus(f) {
		b, err := json.Marshal(o.Object["spec"])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(o.GetKind(), b)
	}
	f.Fuzz(func(t *testing.T, kind string, spec []byte) {
		var content any
		if kinds[kind] == nil || json.Unmarshal(spec, &content) != nil {
			return
		}
		got, want := kinds[kind].MustNewInstance().(proto.Message), kinds[kind].MustNewInstance().(proto.Message)
		gotErr, wantErr := Fill(got, content), byJSON(want, content)
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("error %v, want %v", gotErr, wantErr)
		}
		if wantErr == nil && !proto.Equal(got, want) {
			t.Fatalf("%v, want\n%v", got, want)
		}
	})
}

func BenchmarkFill(b *testing.B) {
	objects := corpus(b)
	for name, fill := range map[string]func(config.Spec, any) error{"Fill": Fill, "ApplyJSON": byJSON} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				for _, o := range objects {
					if err := fill(kinds[o.GetKind()].MustNewInstance(), o.Object["spec"]); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
