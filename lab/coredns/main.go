// Command coredns is CoreDNS with the plugins that a cluster of the lab needs,
// configured by flags. In come the API server's Services and EndpointSlices and
// the names given by --host; out go DNS answers. It is a module of its own
// because CoreDNS wants newer Kubernetes libraries than the lab.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"
)

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = serve(o)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "coredns: %v\n", err)
		os.Exit(2)
	}
}

// serve answers until a signal ends the process.
func serve(o options) error {
	caddy.TrapSignals()
	server, err := start(o)
	if err != nil {
		return err
	}
	server.Wait()
	return nil
}

// start returns when the addresses are bound. Until the API server has been
// heard, which is waited for 5 s, names of the cluster are answered by
// SERVFAIL.
func start(o options) (*caddy.Instance, error) {
	caddy.Quiet, dnsserver.Quiet = true, true
	// The order in which a question passes the plugins.
	dnsserver.Directives = []string{"bind", "ready", "errors", "hosts", "kubernetes", "template"}
	if err := dnsserver.Register(); err != nil {
		return nil, err
	}
	return caddy.Start(caddy.CaddyfileInput{Contents: o.corefile(), Filepath: "Corefile", ServerTypeName: "dns"})
}
