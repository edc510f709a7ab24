package render_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/memtree"
)

// enter takes a slot that must be free.
func enter(t *testing.T, s *render.Slots, tenant string) (leave func()) {
	t.Helper()
	leave, err := s.Enter(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	return leave
}

func TestSlotsAreSharedAmongTenants(t *testing.T) {
	s := render.NewSlots(2, 1)
	first := enter(t, s, "loud")
	enter(t, s, "loud")

	got := make(chan string)
	wait := func(tenant string) {
		go func() {
			if _, err := s.Enter(t.Context(), tenant); err == nil {
				got <- tenant
			}
		}()
	}
	wait("loud")
	// There is a slot that the loud one does not get, however long it waits.
	quiet := enter(t, s, "quiet")
	select {
	case tenant := <-got:
		t.Fatalf("%s has more than its share", tenant)
	default:
	}
	quiet()
	// What the loud one gives back it may have again.
	first()
	if tenant := <-got; tenant != "loud" {
		t.Errorf("the slot went to %s", tenant)
	}
}

func TestSlotsGoToThoseWithFewest(t *testing.T) {
	s := render.NewSlots(3, 0)
	leave := enter(t, s, "loud")
	enter(t, s, "loud")
	enter(t, s, "loud")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Enter(ctx, "quiet"); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want the context's", err)
	}
	order := make(chan string, 2)
	for _, tenant := range []string{"loud", "quiet"} {
		ready := s.Waiting() + 1
		go func() {
			leave, err := s.Enter(t.Context(), tenant)
			if err == nil {
				order <- tenant
				leave()
			}
		}()
		for s.Waiting() < ready {
			runtime.Gosched()
		}
	}
	leave()
	if first := <-order; first != "quiet" {
		t.Errorf("%s came first", first)
	}
	<-order
}

// Renderings without an end leave a worker to other namespaces.
func TestPoolLeavesRoomForOthers(t *testing.T) {
	p := newPool(t, render.PoolConfig{Workers: 2})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 4)
	for range cap(ended) {
		go func() {
			_, err := p.Render(ctx, memtree.Tree{"a/b": "x"}, render.Options{Path: "a", Renderer: touchy, ReleaseName: "wait", Scope: "loud/app"})
			ended <- err
		}()
	}
	waitFor(t, "a worker to start", func() bool { return len(children(t)) == 1 })
	if _, err := p.Render(t.Context(), memtree.Tree{"a/b": "x"}, render.Options{Path: "a", Renderer: files, Scope: "quiet/app"}); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		t.Errorf("it had to wait for another's rendering, which ended in %v", err)
	default:
	}
	cancel()
	for range cap(ended) {
		<-ended
	}
}
