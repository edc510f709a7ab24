package meshtest

import (
	"strings"
	"testing"
)

func TestObjects(t *testing.T) {
	got := Objects(t, "# nothing\n---\nkind: A\nsize: 1\n---\n{kind: B}\n")
	if len(got) != 2 || got[0].GetKind() != "A" || got[0].Object["size"] != int64(1) || got[1].GetKind() != "B" {
		t.Errorf("%v", got)
	}
}

func TestCity(t *testing.T) {
	city := City(12)
	objects, err := Read(city)
	if err != nil {
		t.Fatal(err)
	}
	if len(objects) != 4*12 {
		t.Errorf("%d objects", len(objects))
	}
	for name, want := range map[string]string{
		"svc-8/service.yaml": "{host: svc-9}", "svc-9/service.yaml": "{host: svc-0}", "svc-11/service.yaml": "{host: svc-10}",
	} {
		if !strings.Contains(string(city[name].Data), want) {
			t.Errorf("%s has no %s", name, want)
		}
	}
}
