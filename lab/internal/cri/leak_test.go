package cri_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// possessions is everything that pods could leave behind.
func possessions(t *testing.T, r *runtimeUnderTest) []string {
	t.Helper()
	proc := "/proc/" + strconv.Itoa(r.cmd.Process.Pid)
	var all []string
	for _, d := range must[[]os.DirEntry](t)(os.ReadDir("/proc")) {
		if status, err := os.ReadFile("/proc/" + d.Name() + "/comm"); err == nil {
			if _, err := strconv.Atoi(d.Name()); err == nil {
				all = append(all, "process "+d.Name()+" "+string(status))
			}
		}
	}
	for _, l := range must[[]netlink.Link](t)(netlink.LinkList()) {
		all = append(all, "interface "+l.Attrs().Name)
	}
	for _, d := range must[[]os.DirEntry](t)(os.ReadDir(proc + "/fd")) {
		to, err := os.Readlink(proc + "/fd/" + d.Name())
		if err == nil && !strings.HasPrefix(to, "socket:") {
			all = append(all, "descriptor "+to)
		}
	}
	for line := range strings.Lines(string(must[[]byte](t)(os.ReadFile(proc + "/mountinfo")))) {
		all = append(all, "mount "+strings.Fields(line)[4])
	}
	err := filepath.WalkDir(r.dir, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, "file "+path)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	slices.Sort(all)
	return all
}

func TestTwentyCyclesLeaveNothing(t *testing.T) {
	cycle := func(n int) {
		p := runPod(t, shared)
		init := p.run("init", "echo init")
		init.wait()
		p.run("sidecar", "sleep 1000 & (setsid sleep 1000 &); echo ready; wait").ready("ready")
		app := p.run("app", "echo x > /etc/x; echo ready; exec sleep 1000").ready("ready")
		if _, err := app.exec(10, "sh", "-c", "(setsid sleep 1000 >/dev/null 2>&1 &); true"); err != nil {
			t.Fatal(err)
		}
		_ = p.create("bad", "", func(c *runtimeapi.ContainerConfig) { c.Command = []string{"/none"} }).start()
		_ = p.create("never-started", "")
		if n%2 == 0 {
			app.stop(0)
		}
		p.remove()
	}
	cycle(0)
	// Threads and processes end a moment after they are waited for, and the first
	// cycle makes what stays for ever.
	var before []string
	eventually(t, "a state that a cycle does not change", func() bool {
		last := before
		cycle(0)
		before = possessions(t, shared)
		return slices.Equal(last, before)
	})
	for n := range 20 {
		cycle(n)
	}
	var after []string
	eventually(t, "nothing left behind", func() bool {
		after = possessions(t, shared)
		return len(after) <= len(before)
	})
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	if list := must[*runtimeapi.ListContainersResponse](t)(shared.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{})); len(list.Containers) != 0 {
		t.Errorf("containers: %v", list.Containers)
	}
}

func TestContainersDieWithTheServer(t *testing.T) {
	c := config("/tmp/other", "lab1", "10.245")
	r, err := start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	p := &pod{t: t, r: r, config: podConfig(t)}
	p.id = must[*runtimeapi.RunPodSandboxResponse](t)(r.RunPodSandbox(t.Context(), &runtimeapi.RunPodSandboxRequest{Config: p.config})).PodSandboxId
	p.run("root", "echo ready; sleep 67890; true").ready("ready")
	want := 1
	if os.Getenv(mode) != modeSingle {
		// One that has changed its user as well.
		p.run("user", "echo ready; sleep 67890; true", security(func(s *runtimeapi.LinuxContainerSecurityContext) {
			s.RunAsUser = &runtimeapi.Int64Value{Value: 1000}
		})).ready("ready")
		want++
	}
	eventually(t, "the containers' processes", func() bool { return processes("67890") == want })
	if err := r.cmd.Process.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = r.cmd.Wait()
	eventually(t, "the end of all processes", func() bool { return processes("67890") == 0 })
	if r, err = start(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Kill(); _ = r.cmd.Wait() })
	left, err := filepath.Glob(c.Dir + "/*/*")
	if err != nil || len(left) != 0 {
		t.Errorf("files of the last run: %v, %v", left, err)
	}
	for _, l := range must[[]netlink.Link](t)(netlink.LinkList()) {
		if b, err := netlink.LinkByName(c.Bridge); err != nil || l.Attrs().MasterIndex == b.Attrs().Index {
			t.Errorf("an interface of the last run: %s", l.Attrs().Name)
		}
	}
	runPod(t, r).output("again", "true")
}

func TestManyPods(t *testing.T) {
	const pods = 40
	seen := map[string]bool{}
	for n := range pods {
		p := runPod(t, shared)
		if a := p.address(); seen[a] {
			t.Fatalf("pod %d got %s, which is taken", n, a)
		} else {
			seen[a] = true
		}
	}
	list := must[*runtimeapi.ListPodSandboxResponse](t)(shared.ListPodSandbox(t.Context(), &runtimeapi.ListPodSandboxRequest{
		Filter: &runtimeapi.PodSandboxFilter{
			LabelSelector: map[string]string{"app": t.Name()}, State: &runtimeapi.PodSandboxStateValue{State: runtimeapi.PodSandboxState_SANDBOX_READY},
		},
	}))
	if len(list.Items) != pods {
		t.Errorf("%d pods are listed", len(list.Items))
	}
}

func TestListsAndFilters(t *testing.T) {
	p, other := runPod(t, shared), runPod(t, shared)
	done := p.run("done", "true")
	done.wait()
	long := p.run("long", "echo ready; exec sleep 1000").ready("ready")
	other.run("other", "true").wait()
	running := &runtimeapi.ContainerStateValue{State: runtimeapi.ContainerState_CONTAINER_RUNNING}
	for _, c := range []struct {
		filter *runtimeapi.ContainerFilter
		want   []string
	}{
		{&runtimeapi.ContainerFilter{PodSandboxId: p.id}, []string{"done", "long"}},
		{&runtimeapi.ContainerFilter{PodSandboxId: p.id, State: running}, []string{"long"}},
		{&runtimeapi.ContainerFilter{Id: done.id}, []string{"done"}},
		{&runtimeapi.ContainerFilter{LabelSelector: map[string]string{"container": "other"}}, []string{"other"}},
		{&runtimeapi.ContainerFilter{Id: long.id, PodSandboxId: other.id}, nil},
	} {
		var got []string
		for _, found := range must[*runtimeapi.ListContainersResponse](t)(shared.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{Filter: c.filter})).Containers {
			got = append(got, found.Metadata.Name)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%v: %s", c.filter, diff)
		}
	}
	if _, err := shared.PodSandboxStatus(t.Context(), &runtimeapi.PodSandboxStatusRequest{PodSandboxId: "none"}); err == nil {
		t.Error("a pod that is not there has a status")
	}
}

func TestStats(t *testing.T) {
	p := runPod(t, shared)
	busy := p.run("busy", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; head -c 1000000 /dev/zero > /etc/written; sleep 1000 & echo ready; wait").ready("ready")
	var st *runtimeapi.ContainerStats
	eventually(t, "time on the processor", func() bool {
		st = must[*runtimeapi.ContainerStatsResponse](t)(shared.ContainerStats(t.Context(), &runtimeapi.ContainerStatsRequest{ContainerId: busy.id})).Stats
		return st.Cpu.UsageCoreNanoSeconds.Value > 0
	})
	if st.Memory.WorkingSetBytes.Value < 1<<16 || st.WritableLayer.UsedBytes.Value < 1_000_000 || st.WritableLayer.FsId.Mountpoint != shared.dir {
		t.Errorf("container: %v", st)
	}
	busy.stop(0)
	list := must[*runtimeapi.ListContainerStatsResponse](t)(shared.ListContainerStats(t.Context(), &runtimeapi.ListContainerStatsRequest{
		Filter: &runtimeapi.ContainerStatsFilter{PodSandboxId: p.id},
	}))
	if len(list.Stats) != 0 {
		t.Errorf("a container that has ended uses %v", list.Stats)
	}
}
