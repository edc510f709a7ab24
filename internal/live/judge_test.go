package live

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"mizzen.dev/mizzen"
)

const (
	uid1 = "11111111-1111-1111-1111-111111111111"
	uid2 = "22222222-2222-2222-2222-222222222222"
)

var (
	fieldsA = `{"f:data":{"f:a":{}}}`
	fieldsB = `{"f:data":{"f:b":{}}}`
	webRef  = mizzen.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "web"}
)

// bench is a Watcher of ConfigMaps without a server: the test is the watch.
type bench struct {
	*Watcher
	store
	*recorder
}

func newBench(t *testing.T, a answers, listed ...*metav1.PartialObjectMetadata) bench {
	t.Helper()
	return benchFor(t, offline(t, a), configMapKind, listed...)
}

func benchFor(t *testing.T, c *Cluster, gk schema.GroupKind, listed ...*metav1.PartialObjectMetadata) bench {
	t.Helper()
	r := newRecorder()
	w := c.newWatcher(t.Context(), r.listens())
	k := newKindWatch(w, Resource{Kind: gk.WithVersion("v1"), Name: "things", Namespaced: true, Verbs: []string{"list", "watch"}})
	w.kinds[gk] = k
	items := make([]any, len(listed))
	for i, o := range listed {
		items[i] = o
	}
	b := bench{w, store{k}, r}
	if err := b.Replace(items, "10"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return b
}

func (b bench) sees(t *testing.T, o *metav1.PartialObjectMetadata) {
	t.Helper()
	if err := b.Update(o); err != nil {
		t.Fatal(err)
	}
}

func (b bench) seesDeleted(t *testing.T, o *metav1.PartialObjectMetadata) {
	t.Helper()
	if err := b.Delete(o); err != nil {
		t.Fatal(err)
	}
}

func (b bench) wants(t *testing.T, want ...string) {
	t.Helper()
	b.running.Wait() // for objects that are being verified
	if diff := cmp.Diff(want, b.take()); diff != "" {
		t.Error(diff)
	}
}

// wantsInAnyOrder is for news of several objects: one that is being verified is
// told later than the others, or not.
func (b bench) wantsInAnyOrder(t *testing.T, want ...string) {
	t.Helper()
	b.running.Wait()
	got := b.take()
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func hashed(t *testing.T, uid, version, fields string) Applied {
	return Applied{UID: types.UID(uid), Managed: hashOf(t, apply(ourManager, fields)), ResourceVersion: version}
}

func TestFirstListIsNoNews(t *testing.T) {
	b := newBench(t, nil, object("web", uid1, "5", apply(ourManager, fieldsA)))
	b.wants(t)
	got, ok := b.Lookup(webRef)
	want := Entry{UID: uid1, Owner: app, Managed: hashOf(t, apply(ourManager, fieldsA))}
	if diff := cmp.Diff(want, got); !ok || diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Target{{schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, "shop", "web"}}, b.Owned(app)); diff != "" {
		t.Error(diff)
	}
}

func TestDriftIsToldOnce(t *testing.T) {
	b := newBench(t, nil, object("web", uid1, "5", apply(ourManager, fieldsA)))
	edit := update("kubectl-edit", "", fieldsA, time.Now())
	b.sees(t, object("web", uid1, "11", apply(ourManager, fieldsB), edit))
	b.wants(t, `Changed ConfigMap shop/web by ["kubectl-edit"]: ["data.a"]`)
	b.sees(t, object("web", uid1, "12", apply(ourManager, fieldsB), edit))
	b.wants(t)
	b.sees(t, object("web", uid1, "13", apply(ourManager, fieldsA)))
	b.wants(t, "Changed ConfigMap shop/web")
}

func TestExpectInEitherOrder(t *testing.T) {
	first, second := object("web", uid1, "5", apply(ourManager, fieldsA)), object("web", uid1, "11", apply(ourManager, fieldsB))
	t.Run("before the event", func(t *testing.T) {
		b := newBench(t, nil, first)
		b.Begin(app)
		b.Expect(app, webRef, hashed(t, uid1, "11", fieldsB))
		b.End(app)
		b.sees(t, second)
		b.wants(t)
	})
	t.Run("after the event", func(t *testing.T) {
		b := newBench(t, nil, first)
		b.Begin(app)
		b.sees(t, second)
		b.wants(t)
		b.Expect(app, webRef, hashed(t, uid1, "11", fieldsB))
		b.End(app)
		b.wants(t)
	})
	t.Run("never", func(t *testing.T) {
		b := newBench(t, nil, first)
		b.Begin(app)
		b.Begin(app)
		b.sees(t, second)
		b.End(app)
		b.wants(t)
		b.End(app)
		b.wants(t, "Changed ConfigMap shop/web")
	})
	t.Run("an edit while its own event is on the way", func(t *testing.T) {
		b := newBench(t, nil, first)
		b.Begin(app)
		b.sees(t, object("web", uid1, "11", apply(ourManager, `{}`))) // the edit
		b.Expect(app, webRef, hashed(t, uid1, "12", fieldsB))         // healed by the sync
		b.End(app)
		b.wants(t)
		b.sees(t, object("web", uid1, "12", apply(ourManager, fieldsB)))
		b.wants(t)
	})
	t.Run("an edit after our write, before End", func(t *testing.T) {
		b := newBench(t, nil, first)
		b.Begin(app)
		b.Expect(app, webRef, hashed(t, uid1, "11", fieldsB))
		b.sees(t, second)
		b.sees(t, object("web", uid1, "12", apply(ourManager, `{}`)))
		b.wants(t)
		b.End(app)
		b.wants(t, "Changed ConfigMap shop/web")
	})
}

func TestCreated(t *testing.T) {
	o := object("web", uid1, "11", apply(ourManager, fieldsA))
	t.Run("by us", func(t *testing.T) {
		b := newBench(t, nil)
		b.Begin(app)
		b.Expect(app, webRef, hashed(t, uid1, "11", fieldsA))
		if e, ok := b.Lookup(webRef); !ok || e.Managed != hashOf(t, apply(ourManager, fieldsA)) {
			t.Errorf("what we wrote is known as %+v, %v", e, ok)
		}
		b.End(app)
		b.sees(t, o)
		b.wants(t)
		if _, ok := b.Lookup(webRef); !ok {
			t.Error("not found")
		}
	})
	t.Run("by another process of this installation", func(t *testing.T) {
		b := newBench(t, nil)
		b.sees(t, o)
		b.wants(t, "Changed ConfigMap shop/web")
	})
	t.Run("as a copy", func(t *testing.T) {
		b := newBench(t, nil)
		o := object("web", uid1, "11", apply(ourManager, fieldsA))
		o.Name = "copy"
		b.sees(t, o)
		b.seesDeleted(t, o)
		b.wants(t)
	})
}

func TestVanished(t *testing.T) {
	first := object("web", uid1, "5", apply(ourManager, fieldsA))
	deleted := object("web", uid1, "11", apply(ourManager, fieldsA))
	still := func(uid, label string) answers {
		return func(*http.Request) (int, string) {
			return http.StatusOK, `{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"name":"web","namespace":"shop","uid":"` + uid + `","labels":{"mizzen.dev/managed":"` + label + `"}}}`
		}
	}
	t.Run("deleted", func(t *testing.T) {
		b := newBench(t, nil, first)
		b.seesDeleted(t, deleted)
		b.wants(t, "Gone ConfigMap shop/web")
		if len(b.kinds[configMapKind].entries) != 0 || len(b.owners) != 0 {
			t.Error("remembered")
		}
	})
	t.Run("label removed", func(t *testing.T) {
		b := newBench(t, still(uid1, "other"), first)
		b.seesDeleted(t, deleted)
		b.wants(t, "Unlabelled ConfigMap shop/web")
	})
	t.Run("label back before we asked", func(t *testing.T) {
		b := newBench(t, still(uid1, mizzen.DefaultInstallation), first)
		b.seesDeleted(t, deleted)
		b.wants(t)
		b.sees(t, object("web", uid1, "12", apply(ourManager, fieldsB)))
		b.wants(t, "Changed ConfigMap shop/web")
	})
	t.Run("replaced by hand", func(t *testing.T) {
		b := newBench(t, still(uid2, mizzen.DefaultInstallation), first)
		b.seesDeleted(t, deleted)
		b.sees(t, object("web", uid2, "12", update("kubectl-create", "", fieldsA, time.Now())))
		b.wants(t, "Gone ConfigMap shop/web")
	})
	t.Run("replaced while we looked away", func(t *testing.T) {
		b := newBench(t, still(uid2, mizzen.DefaultInstallation), first)
		b.sees(t, object("web", uid2, "12", update("kubectl-create", "", fieldsA, time.Now())))
		b.wants(t, "Gone ConfigMap shop/web")
	})
	t.Run("the server does not answer", func(t *testing.T) {
		b := newBench(t, func(*http.Request) (int, string) { return http.StatusInternalServerError, "" }, first)
		b.seesDeleted(t, deleted)
		b.wants(t, "Gone ConfigMap shop/web")
	})
	t.Run("deleted by us", func(t *testing.T) {
		b := newBench(t, func(r *http.Request) (int, string) {
			t.Errorf("%s is asked for", r.URL)
			return http.StatusNotFound, notFound
		}, first)
		b.ExpectGone(webRef)
		b.seesDeleted(t, deleted)
		b.wants(t, "Removed ConfigMap shop/web")
	})
	t.Run("deleted by us, and seen first", func(t *testing.T) {
		b := newBench(t, nil, first)
		b.Begin(app)
		b.seesDeleted(t, deleted)
		b.ExpectGone(webRef)
		b.End(app)
		b.wants(t, "Removed ConfigMap shop/web")
	})
	t.Run("replaced by us", func(t *testing.T) {
		b := newBench(t, nil, first)
		b.Begin(app)
		b.seesDeleted(t, deleted)
		b.Expect(app, webRef, hashed(t, uid2, "12", fieldsB))
		b.End(app)
		b.wants(t)
		b.sees(t, object("web", uid2, "12", apply(ourManager, fieldsB)))
		b.wants(t)
	})
	t.Run("deleted by hand before the answer to our write", func(t *testing.T) {
		b := newBench(t, nil, first)
		b.Begin(app)
		b.sees(t, object("web", uid1, "11", apply(ourManager, fieldsB)))
		b.seesDeleted(t, object("web", uid1, "12", apply(ourManager, fieldsB)))
		b.Expect(app, webRef, hashed(t, uid1, "11", fieldsB))
		b.End(app)
		b.wants(t, "Gone ConfigMap shop/web")
	})
	t.Run("created by us, and deleted by hand before the answer", func(t *testing.T) {
		b := newBench(t, nil)
		b.Begin(app)
		b.sees(t, object("web", uid1, "11", apply(ourManager, fieldsA)))
		b.seesDeleted(t, object("web", uid1, "12", apply(ourManager, fieldsA)))
		b.Expect(app, webRef, hashed(t, uid1, "11", fieldsA))
		b.End(app)
		b.wants(t, "Gone ConfigMap shop/web")
	})
	t.Run("replaced by us, deletion seen late", func(t *testing.T) {
		b := newBench(t, nil, first)
		b.Begin(app)
		b.Expect(app, webRef, hashed(t, uid2, "12", fieldsB))
		b.End(app)
		b.seesDeleted(t, deleted)
		b.sees(t, object("web", uid2, "12", apply(ourManager, fieldsB)))
		b.wants(t)
	})
}

func TestRelistFindsWhatWasMissed(t *testing.T) {
	list := func(version string, objects ...*metav1.PartialObjectMetadata) func(bench) {
		return func(b bench) {
			items := make([]any, len(objects))
			for i, o := range objects {
				items[i] = o
			}
			if err := b.Replace(items, version); err != nil {
				t.Fatal(err)
			}
		}
	}
	a := object("a", uid1, "5", apply(ourManager, fieldsA))
	z := object("z", uid2, "6", apply(ourManager, fieldsA))
	b := newBench(t, nil, a, z)
	list("20", a, z)(b)
	if len(b.events) > 0 {
		t.Errorf("a list of what is known is told: %v", b.events)
	}
	list("21", object("a", uid1, "15", apply(ourManager, fieldsB)))(b)
	b.wantsInAnyOrder(t, "Changed ConfigMap shop/a", "Gone ConfigMap shop/z")

	// A restored etcd counts anew: what is older by number is news.
	b.Expect(app, mizzen.Ref{Kind: "ConfigMap", Namespace: "shop", Name: "a"}, hashed(t, uid1, "30", fieldsA))
	list("7", object("a", uid1, "3", apply(ourManager, fieldsB)))(b)
	b.wants(t, "Changed ConfigMap shop/a")
}

func TestForeignFieldsAreToldOncePerChange(t *testing.T) {
	c := offline(t, nil)
	c.exclusive[configMapKind] = true
	extra := update("kubectl-edit", "", `{"f:data":{"f:extra":{}}}`, time.Now())
	b := benchFor(t, c, configMapKind, object("web", uid1, "5", apply(ourManager, fieldsA), extra))
	// Nobody took it away before we started, so it is told even of a first list.
	b.wants(t, `Foreign ConfigMap shop/web by ["kubectl-edit"]: ["data.extra"]`)
	b.sees(t, object("web", uid1, "11", apply(ourManager, fieldsA), extra))
	b.wants(t)
	b.sees(t, object("web", uid1, "12", apply(ourManager, fieldsA)))
	b.wants(t)
	b.Begin(app)
	b.sees(t, object("web", uid1, "13", apply(ourManager, fieldsA), extra))
	b.wants(t)
	if e, _ := b.Lookup(webRef); !e.Foreign {
		t.Error("Lookup does not tell")
	}
	b.End(app)
	b.wants(t, `Foreign ConfigMap shop/web by ["kubectl-edit"]: ["data.extra"]`)
}

// Who changes a field of ours and adds another is told once, as Changed; what
// they added is told when the sync that mended ours has left it.
func TestForeignFieldBesideChangedOne(t *testing.T) {
	both := `{"f:data":{"f:a":{},"f:b":{}}}`
	b := newBench(t, nil, object("web", uid1, "5", apply(ourManager, both)))
	extra := update("kubectl-edit", "", `{"f:data":{"f:extra":{}}}`, time.Now())
	b.sees(t, object("web", uid1, "11", apply(ourManager, fieldsA), extra))
	b.sees(t, object("web", uid1, "12", apply(ourManager, fieldsA), extra))
	b.wants(t, `Changed ConfigMap shop/web by ["kubectl-edit"]: ["data.extra"]`)
	b.Begin(app)
	b.Expect(app, webRef, hashed(t, uid1, "13", both))
	b.End(app)
	b.sees(t, object("web", uid1, "13", apply(ourManager, both), extra))
	b.wants(t, `Foreign ConfigMap shop/web by ["kubectl-edit"]: ["data.extra"]`)
}

func TestEntryTakenAway(t *testing.T) {
	b := newBench(t, nil, object("web", uid1, "5", apply(ourManager, fieldsA)))
	b.sees(t, object("web", uid1, "11"))
	b.wants(t, "Changed ConfigMap shop/web")
	if e, ok := b.Lookup(webRef); !ok || e.Managed != "" {
		t.Errorf("Lookup says %+v, %v", e, ok)
	}
}
