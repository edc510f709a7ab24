package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// options are what the command line says.
type options struct {
	kubeconfig string
	bind       netip.Addr
	port       int
	ready      string
	domain     string
	hosts      []host
}

// host is a name outside of the cluster's domain, and its IPv4 address.
type host struct {
	name    string
	address netip.Addr
}

// parse reads the command line; usage and errors about flags go to output.
func parse(args []string, output io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("coredns", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` that says how to reach the API server")
	flags.TextVar(&o.bind, "bind", netip.AddrFrom4([4]byte{127, 0, 0, 1}), "`address` to answer on")
	flags.IntVar(&o.port, "port", 53, "port to answer on, UDP and TCP")
	flags.StringVar(&o.ready, "ready", "127.0.0.1:8181", "`address` whose /ready says whether Services are known")
	flags.StringVar(&o.domain, "domain", "cluster.local", "the cluster's `domain`")
	flags.Func("host", "a further `name=address`; may be repeated", func(s string) error {
		h, err := parseHost(s)
		o.hosts = append(o.hosts, h)
		return err
	})
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if flags.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, o.check()
}

func parseHost(s string) (host, error) {
	name, address, found := strings.Cut(s, "=")
	if !found || !isName(name) {
		return host{}, errors.New("want name=address, such as host.lab.internal=10.0.0.1")
	}
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return host{}, err
	}
	if !ip.Is4() {
		return host{}, fmt.Errorf("%s is not an IPv4 address", address)
	}
	return host{name, ip}, nil
}

// check refuses what would be read as something else in a Corefile.
func (o options) check() error {
	switch {
	case o.kubeconfig == "":
		return errors.New("--kubeconfig is missing")
	case strings.ContainsAny(o.kubeconfig, "\"\\{}\n"):
		return fmt.Errorf("--kubeconfig: a Corefile cannot name %q; put the file elsewhere", o.kubeconfig)
	case !isName(o.domain):
		return fmt.Errorf("--domain: %q is not a domain", o.domain)
	}
	if _, err := netip.ParseAddrPort(o.ready); err != nil {
		return fmt.Errorf("--ready: %w", err)
	}
	return nil
}

func isName(s string) bool {
	_, valid := dns.IsDomainName(s)
	return valid && s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == ""
}

// corefile returns CoreDNS's configuration. Nothing is cached: answers come
// from memory anyway, and a Service that was just created is there at once.
// A name that is neither the cluster's nor a host does not exist, since
// nothing leaves the machine; a refusal would make resolvers try again.
func (o options) corefile() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, ".:%d {\n", o.port)
	fmt.Fprintf(&b, "\tbind %s\n\tready %s\n\terrors\n", o.bind, o.ready)
	if len(o.hosts) > 0 {
		// Without a file named, it would be /etc/hosts.
		b.WriteString("\thosts /dev/null {\n")
		for _, h := range o.hosts {
			fmt.Fprintf(&b, "\t\t%s %s\n", h.address, h.name)
		}
		b.WriteString("\t\tttl 5\n\t\treload 0s\n\t\tno_reverse\n\t\tfallthrough\n\t}\n")
	}
	fmt.Fprintf(&b, "\tkubernetes %s in-addr.arpa ip6.arpa {\n", o.domain)
	fmt.Fprintf(&b, "\t\tkubeconfig \"%s\"\n\t\tpods insecure\n\t\tttl 5\n\t}\n", o.kubeconfig)
	b.WriteString("\ttemplate ANY ANY {\n\t\trcode NXDOMAIN\n\t}\n}\n")
	return []byte(b.String())
}
