package supervise

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/node"
	"mizzen.dev/mizzen/lab/internal/ports"
	"mizzen.dev/mizzen/lab/internal/process"
	"mizzen.dev/mizzen/lab/internal/relay"
)

// NodeCommand is the hidden command that becomes process 1 of a live cluster.
const NodeCommand = "__node"

// lifeFD is the descriptor that it reads to learn of its supervisor's end.
const lifeFD = 4

// services are what the URLs of a live cluster lead to.
var services = map[string]string{
	"gateway":    "istio-ingressgateway.istio-ingress.svc.cluster.local:80",
	"prometheus": "prometheus.monitoring.svc.cluster.local:9090",
	"load":       "load.load.svc.cluster.local:8080",
	"tracing":    "jaeger.tracing.svc.cluster.local:16686",
}

// border is the host's side of a live cluster, while its process runs.
type border struct {
	dir       *os.File
	life      *os.File
	listeners []net.Listener
}

// close shuts the relays; connections end with the cluster's process.
func (b *border) close() {
	if b == nil {
		return
	}
	for _, l := range b.listeners {
		l.Close()
	}
	b.life.Close()
	b.dir.Close()
}

// launchLive starts cmd as process 1 of namespaces of its own, and opens the
// relays to it.
func (c *child) launchLive(cmd *exec.Cmd) error {
	pods, ranges, err := c.s.spec.Ranges(c.number())
	if err != nil {
		return err
	}
	ends, others, err := c.s.links(c.number())
	if err != nil {
		return err
	}
	b, err := openBorder(cmd.Dir)
	if err != nil {
		return err
	}
	api, err := c.openRelays(b)
	if err != nil {
		b.close()
		return err
	}
	theirs, life, err := os.Pipe()
	if err != nil {
		b.close()
		return err
	}
	defer theirs.Close()
	b.life = life
	spec := c.s.spec
	separate := process.Isolate(cmd)
	cmd.Args = []string{
		"lab", NodeCommand, "--name", c.view.Name, "--node", fmt.Sprintf("lab-%d", c.number()),
		"--nodes", strconv.Itoa(spec.Nodes), "--port", strconv.Itoa(api), "--bin", spec.Bin, "--images", spec.Images,
		"--pod-cidr", pods.String(), "--service-cidr", ranges.String(), "--user-namespace=" + strconv.FormatBool(separate),
	}
	cmd.ExtraFiles = append(append(cmd.ExtraFiles, theirs), ends...)
	for _, other := range others {
		cmd.Args = append(cmd.Args, "--join", other)
	}
	if err := c.begin(cmd, life, separate); err != nil {
		b.close()
		return err
	}
	c.border = b
	return nil
}

// begin starts cmd, and lets it go on when its ids are mapped.
func (c *child) begin(cmd *exec.Cmd, life *os.File, separate bool) error {
	if err := c.s.spawner.Start(cmd); err != nil {
		return fmt.Errorf("namespaces: %w; see `lab doctor --live`", err)
	}
	var err error
	if separate {
		err = process.MapIDs(cmd.Process.Pid)
	}
	if err == nil {
		_, err = life.Write([]byte{1})
	}
	if err != nil {
		_ = cmd.Process.Kill() // it may have ended, which is as well
		_ = cmd.Wait()
		return fmt.Errorf("namespaces: %w; see `lab doctor --live`", err)
	}
	return nil
}

func openBorder(path string) (*border, error) {
	dir, err := os.OpenFile(path, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, fmt.Errorf("directory of the cluster: %w", err)
	}
	return &border{dir: dir}, nil
}

// openRelays opens the ways in and out, and returns the port of the API.
func (c *child) openRelays(b *border) (int, error) {
	in := relay.Through(b.dir, relay.InSocket)
	open := func(key, address string, preferred int, required bool) (int, error) {
		l, err := ports.Listen(preferred, required)
		if err != nil {
			return 0, fmt.Errorf("relay to %s: %w", address, err)
		}
		b.listeners = append(b.listeners, l)
		port := ports.Of(l)
		c.s.remember(key, port)
		if address == "" { // the API has the same port inside
			address = fmt.Sprintf("127.0.0.1:%d", port)
		}
		go relay.Forward(l, address, in)
		return port, nil
	}
	for name, address := range services {
		key := c.view.Name + "/" + name
		port, err := open(key, address, c.s.ports[key], false)
		if err != nil {
			return 0, err
		}
		c.view.URLs[name] = fmt.Sprintf("http://127.0.0.1:%d", port)
	}
	out, err := relay.Listen(b.dir, relay.OutSocket)
	if err != nil {
		return 0, err
	}
	b.listeners = append(b.listeners, out)
	go relay.Serve(out, c.s.dialExposed)
	preferred, required := c.preferred()
	return open(c.view.Name, "", preferred, required)
}

// dialExposed dials the address of the host that `lab expose` gave a name.
func (s *supervisor) dialExposed(ctx context.Context, name string) (net.Conn, error) {
	spec, err := s.dir.ReadSpec() // as it is now; the supervisor's belongs to its goroutine
	if err != nil {
		return nil, err
	}
	address, err := netip.ParseAddrPort(spec.Exposed[name])
	if err != nil || !address.Addr().IsLoopback() {
		return nil, fmt.Errorf("%q is not exposed", name)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", address.String())
}

// NodeOptions are the arguments of NodeCommand.
type NodeOptions struct {
	node.Options
	// PodCIDR and ServiceCIDR are the ranges.
	PodCIDR, ServiceCIDR string
	// Join has the ranges of the clusters that descriptors above lifeFD lead to.
	Join []string
}

// RunNode is process 1 of a live cluster, in the cluster's directory.
func RunNode(o NodeOptions) error {
	unix.CloseOnExec(reportFD)
	unix.CloseOnExec(lifeFD)
	reports, life := os.NewFile(reportFD, "reports"), os.NewFile(lifeFD, "life")
	var err error
	if o.Pods, err = netip.ParsePrefix(o.PodCIDR); err != nil {
		return fmt.Errorf("range of pods: %w", err)
	}
	if o.Services, err = netip.ParsePrefix(o.ServiceCIDR); err != nil {
		return fmt.Errorf("range of Services: %w", err)
	}
	for i, other := range o.Join {
		fd := lifeFD + 1 + i
		unix.CloseOnExec(fd)
		pods, err := netip.ParsePrefix(other)
		if err != nil {
			return fmt.Errorf("range of another cluster: %w", err)
		}
		o.Links = append(o.Links, node.Link{Pods: pods, Socket: os.NewFile(uintptr(fd), "link")})
	}
	return node.Run(o.Options, reports, life, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}
