// Package node is process 1 of a live cluster: of mount, network, pid, ipc and
// uts namespaces that hold the control plane, one real node and its pods. In
// come the cluster's directory as the working directory, the Options and two
// pipes of the supervisor; out come running components, the Reports of the
// control plane, and the inner end of the relays. It ends when the control
// plane or the CRI server does, or the supervisor; the kernel then ends
// everything else that is inside. Nothing outside has changed.
package node

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/cluster"
	"mizzen.dev/mizzen/lab/internal/process"
)

// Options say which cluster to run.
type Options struct {
	// Cluster is its name, Node the name of its live node.
	Cluster, Node string
	// Bin has the programs of the components, and the files of images. Images
	// is a further table of images, or "".
	Bin, Images string
	// Port is where the API is served.
	Port int
	// Nodes is how many kwok nodes there are.
	Nodes int
	// Pods and Services are the ranges of their addresses.
	Pods, Services netip.Prefix
	// Links lead to other clusters.
	Links []Link
	// UserNamespace says that there is one, whose maps the supervisor writes.
	UserNamespace bool
}

// Address is the node's: of the bridge that pods are connected to.
func Address(pods netip.Prefix) netip.Addr { return pods.Masked().Addr().Next() }

type node struct {
	Options
	log    *slog.Logger
	out    *cluster.Reporter
	boot   string
	family *family
	// inner is what the node's components see, and whatever they start; it has
	// nothing of lab, the lab's own directory.
	inner  *view
	lab    string
	events chan func() error
	// last is closed when the control plane has no more to report.
	last chan struct{}
}

// Run is process 1. It writes reports to out, and ends when life does: the
// supervisor has the other end, and writes a byte to it once the ids are
// mapped.
func Run(o Options, out, life *os.File, log *slog.Logger) error {
	n := &node{
		Options: o, log: log, out: cluster.NewReporter(out),
		family: newFamily(), events: make(chan func() error), last: make(chan struct{}),
	}
	err := n.run(life)
	if err != nil {
		err = fmt.Errorf("%s: %w", o.Cluster, err)
		n.out.Report(cluster.Report{Error: err.Error()})
	}
	return err
}

func (n *node) run(life *os.File) error {
	if err := awaitMaps(life); err != nil {
		return err
	}
	go func() {
		_, _ = life.Read(make([]byte, 1))
		os.Exit(1) // the supervisor is gone
	}()
	if n.UserNamespace {
		if err := process.BecomeRoot(); err != nil {
			return err
		}
	}
	if err := n.furnish(); err != nil {
		return err
	}
	if err := n.startControlPlane(); err != nil {
		return err
	}
	go n.family.reap()
	if err := n.startRuntime(); err != nil {
		return err
	}
	for event := range n.events {
		if err := event(); err != nil {
			return err
		}
	}
	return nil
}

// awaitMaps returns when the supervisor says that ids are mapped.
func awaitMaps(life *os.File) error {
	if _, err := io.ReadFull(life, make([]byte, 1)); err != nil {
		return fmt.Errorf("wait for the supervisor: %w", err)
	}
	return nil
}

// furnish makes everything that components find when they start.
func (n *node) furnish() error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/uuid")
	if err != nil {
		return fmt.Errorf("id of this start: %w", err)
	}
	n.boot = string(boot[:len(boot)-1])
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	// The mounts have no symbolic links on their way.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	if err := mountAll(append(n.lent(), tree{path: dir, writable: true}), n.boot); err != nil {
		return err
	}
	// The working directory was that of the host's mount.
	if err := os.Chdir(dir); err != nil {
		return err
	}
	n.lab = filepath.Dir(filepath.Dir(dir)) // the cluster's is clusters/NAME in it
	if n.inner, err = newView(func() error { return n.hideLab(dir) }); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(n.Node)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := connect(n.Pods); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	if err := join(n.Links, Address(n.Pods)); err != nil {
		return err
	}
	if err := n.openRelays(); err != nil {
		return err
	}
	return n.writeConfigs()
}

// startControlPlane starts the cluster's process and passes its reports on.
func (n *node) startControlPlane() error {
	from, theirs, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirs.Close()
	go func() {
		defer close(n.last)
		cluster.ReadReports(from, func(r cluster.Report) {
			n.out.Report(r)
			if r.Phase == cluster.Serving {
				n.events <- n.startNode
			}
		})
	}()
	return n.family.start(program{
		path: "/proc/self/exe", extra: theirs,
		args: []string{
			"lab", cluster.Command, "--name", n.Cluster, "--nodes", strconv.Itoa(n.Nodes),
			"--port", strconv.Itoa(n.Port), "--require-port", "--live-node", n.Node, "--boot", n.boot,
			"--pod-cidr", n.Pods.String(), "--service-cidr", n.Services.String(),
		},
	}, func(end unix.WaitStatus) {
		<-n.last
		n.events <- func() error { return fmt.Errorf("the control plane ended (%s)", describe(end)) }
	})
}

// startRuntime starts the CRI server, without which no pod can live.
func (n *node) startRuntime() error {
	args := []string{
		"--socket", criSocket, "--dir", criDir, "--bin", n.Bin, "--bridge", bridge,
		"--pod-cidr", n.Pods.String(), "--node-address", Address(n.Pods).String(), "--stream-address", "127.0.0.1:10249",
		"--hide", n.lab,
	}
	if n.Images != "" {
		args = append(args, "--images", n.Images)
	}
	return n.startLogged("lab-cri", args, func(end unix.WaitStatus) error {
		return fmt.Errorf("lab-cri ended (%s); see `lab logs %s/lab-cri`", describe(end), n.Cluster)
	})
}

// startNode starts what needs the API, and starts it again where it falls.
func (n *node) startNode() error {
	if _, err := os.Stat(criSocket); errors.Is(err, os.ErrNotExist) {
		n.later(20*time.Millisecond, n.startNode)
		return nil
	} else if err != nil {
		return err
	}
	if err := handOver(); err != nil {
		return err
	}
	address := Address(n.Pods).String()
	for _, c := range []component{
		{"kubelet", []string{
			"--config=" + configFile(kubeletConfigFile), "--kubeconfig=" + configFile(cluster.KubeletFile), "--hostname-override=" + n.Node,
			"--node-ip=" + address, "--node-labels=" + NodeLabel, "--v=2",
		}},
		{"kube-proxy", []string{"--config=" + configFile(proxyConfigFile), "--v=2"}},
		{"coredns", []string{
			"--kubeconfig", configFile(cluster.DNSFile), "--bind", address, "--domain", cluster.Domain,
			"--host", hostName + "=" + address,
		}},
	} {
		n.keep(c, 0)
	}
	return nil
}
