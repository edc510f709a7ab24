package command

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"mizzen.dev/mizzen/lab/internal/shop/load"
)

// once sends requests as the arguments say, and prints the report.
func once(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c, output, err := parseOnce(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	run, err := load.Start(c)
	if err != nil {
		return err
	}
	select {
	case <-run.Done():
	case <-ctx.Done():
		run.Stop()
	}
	report := run.Report()
	if err := printReport(stdout, output, &report); err != nil {
		return err
	}
	if !report.Clean() {
		return errNo
	}
	return nil
}

func printReport(w io.Writer, output string, r *load.Report) error {
	if output == "text" {
		return r.Text(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// headers are those of -H flags, "Name: value".
type headers map[string]string

func (h headers) String() string { return "" }

func (h headers) Set(s string) error {
	name, value, found := strings.Cut(s, ":")
	if !found {
		return errors.New("want Name: value")
	}
	h[strings.TrimSpace(name)] = strings.TrimSpace(value)
	return nil
}

func parseOnce(args []string, stderr io.Writer) (c load.Config, output string, err error) {
	var target load.Target
	header := headers{}
	f := flag.NewFlagSet("shop load", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Int64Var(&c.Requests, "n", 0, "requests (default 1000 without -d)")
	f.TextVar(&c.Duration, "d", load.Duration(0), "how long to send, such as 30s")
	f.IntVar(&c.Connections, "c", 4, "connections")
	f.Float64Var(&c.QPS, "qps", 0, "requests a second in all; latency counts from when each was due (0: as fast as connections allow)")
	f.StringVar(&target.Host, "host", "", "Host header")
	f.StringVar(&target.Method, "m", "GET", "method")
	f.Var(header, "H", "header \"Name: value\"; may be repeated")
	f.TextVar(&c.Timeout, "timeout", load.Duration(0), "of one request (default 10s)")
	fresh := f.Bool("new", false, "a new connection for each request")
	f.StringVar(&output, "o", "text", "text or json")
	f.Usage = func() {
		fmt.Fprintln(stderr, "usage: shop load FLAGS [NAME=]URL...")
		f.PrintDefaults()
	}
	if err := f.Parse(args); err != nil {
		return c, "", err
	}
	if output != "text" && output != "json" {
		return c, "", fmt.Errorf("-o %s: want text or json", output)
	}
	if c.Requests == 0 && c.Duration == 0 {
		c.Requests = 1000
	}
	keep := !*fresh
	c.KeepAlive, target.Headers = &keep, header
	for _, arg := range f.Args() {
		t := load.ParseTarget(arg)
		t.Host, t.Method, t.Headers = target.Host, target.Method, target.Headers
		c.Targets = append(c.Targets, t)
	}
	return c, output, nil
}
