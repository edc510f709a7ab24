// Command lab-cri is the lab's container runtime: a CRI server for a kubelet.
// It also executes itself as the beginning of each container's process.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"

	"mizzen.dev/mizzen/lab/internal/cri"
	"mizzen.dev/mizzen/lab/internal/cri/inside"
)

// A thread that enters a pod's namespaces ends with its goroutine, except for
// the process's first, which cannot end: it would hold the namespaces for good.
// So it is main's alone.
func init() { runtime.LockOSThread() }

func main() {
	inside.Become()
	var c cri.Config
	flag.StringVar(&c.Socket, "socket", "", "path of the Unix socket to serve on")
	flag.StringVar(&c.Dir, "dir", "", "directory for the server alone; what an earlier one left there is removed")
	flag.StringVar(&c.Bin, "bin", "", "directory of the images' files")
	flag.StringVar(&c.Images, "images", "", "a further table of images, read again for each pull")
	flag.StringVar(&c.Hide, "hide", "", "a directory that no pod sees")
	flag.StringVar(&c.Bridge, "bridge", "", "the bridge that connects the pods")
	flag.TextVar(&c.Pods, "pod-cidr", netip.MustParsePrefix("10.244.0.0/16"), "range of the pods' addresses")
	flag.TextVar(&c.NodeAddress, "node-address", netip.MustParseAddr("10.244.0.1"), "address of the bridge")
	flag.StringVar(&c.StreamAddress, "stream-address", "127.0.0.1:10249", "where exec and port-forward are served to the kubelet")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := cri.Serve(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "lab-cri:", err)
		os.Exit(1)
	}
}
