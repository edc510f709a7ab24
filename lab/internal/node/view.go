package node

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/cluster"
)

// configDir has what components read when they start. Pods that see it, by a
// hostPath, cannot write to it: the kubelet runs what its kubeconfig tells.
const configDir = runDir + "/config"

// view is a thread with mounts of its own. What it starts has them too.
type view struct{ work chan func() }

// newView returns a view whose mounts are those of now as change leaves them.
func newView(change func() error) (*view, error) {
	v := &view{work: make(chan func())}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: no other goroutine is to have these mounts
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = change()
		}
		made <- err
		for f := range v.work {
			f()
		}
	}()
	if err := <-made; err != nil {
		close(v.work)
		return nil, fmt.Errorf("mounts of the node's components: %w", err)
	}
	return v, nil
}

// do calls f on the thread of v, or on any if v is nil.
func (v *view) do(f func()) {
	if v == nil {
		f()
		return
	}
	done := make(chan struct{})
	v.work <- func() { f(); close(done) }
	<-done
}

// hideLab leaves no mount that would lead a pod to a file of the host that
// can be written. A hostPath can name everything that the kubelet and the CRI
// server see; so neither sees the cluster's directory, the only one that is
// writable, nor anything else of the lab's own.
func (n *node) hideLab(dir string) error {
	var kept []tree
	for _, t := range n.lent() {
		if t.path == n.lab || strings.HasPrefix(t.path, n.lab+"/") {
			kept = append(kept, t)
		}
	}
	if err := capture(kept); err != nil {
		return err
	}
	if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("hide %s: %w", dir, err)
	}
	if err := mountMemory(n.lab, "mode=0755"); err != nil {
		return err
	}
	if err := attach(kept); err != nil {
		return err
	}
	for _, path := range []string{n.lab, configDir} {
		if err := unix.MountSetattr(unix.AT_FDCWD, path, 0, readOnly()); err != nil {
			return fmt.Errorf("make %s read-only: %w", path, err)
		}
	}
	return nil
}

// lent are the directories of the host with programs and images.
func (n *node) lent() []tree {
	trees := []tree{{path: n.Bin}}
	if n.Images != "" {
		trees = append(trees, tree{path: filepath.Dir(n.Images)})
	}
	return trees
}

// handOver copies what the control plane has written for the components.
func handOver() error {
	for _, file := range []string{
		cluster.KubeletFile, cluster.ProxyFile, cluster.DNSFile, cluster.KubeletCertFile, cluster.KubeletKeyFile, cluster.AuthorityFile,
	} {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(configFile(file), data, 0o600)
		}
		if err != nil {
			return fmt.Errorf("hand %s over: %w", file, err)
		}
	}
	return nil
}

// configFile returns where a component finds a file of the cluster's directory.
func configFile(file string) string { return filepath.Join(configDir, filepath.Base(file)) }
