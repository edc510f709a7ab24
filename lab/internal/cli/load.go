package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen/lab/internal/shop/load"
	"mizzen.dev/mizzen/lab/internal/state"
)

const (
	// defaultTarget is the shop as its users reach it, seen from a pod.
	defaultTarget = "gateway=http://istio-ingressgateway.istio-ingress.svc.cluster.local/"
	// loadTimeout bounds one request to the load pod; a stop waits for the
	// answers that are due.
	loadTimeout = 90 * time.Second
	// maxReport bounds what is read of its answer.
	maxReport = 16 << 20
)

func newLoad(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "load", Short: "Put load on the shop of a live lab"}
	cmd.AddCommand(newLoadStart(o), newLoadStop(o), newLoadReport(o))
	return cmd
}

func newLoadStart(o *options) *cobra.Command {
	var c load.Config
	var targets []string
	var host string
	var headers map[string]string
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start to send requests from the load pod",
		Long: "start sends requests from the load pod until --duration or --requests is reached, or `lab load stop`.\n" +
			"At a rate (--qps), latency counts from when a request was due: a server that stalls cannot hide what it kept\n" +
			"waiting. --qps 0 sends as fast as the connections allow.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, text := range targets {
				t := load.ParseTarget(text)
				t.Host, t.Headers = host, headers
				c.Targets = append(c.Targets, t)
			}
			// What the pod would refuse is refused here, without a pod.
			complete, err := c.Complete()
			if err != nil {
				return err
			}
			body, err := json.Marshal(complete)
			if err != nil {
				return err
			}
			if _, err := o.askLoad(cmd.Context(), http.MethodPost, "/start", body); err != nil {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "the load runs; see lab load report")
			return nil
		},
	}
	f := cmd.Flags()
	f.Float64Var(&c.QPS, "qps", 10, "requests a second of all targets together (0: as many as the connections allow)")
	f.IntVar(&c.Connections, "connections", 4, "requests that can be under way at once")
	f.DurationVar((*time.Duration)(&c.Duration), "duration", 0, "how long to send (0: until stopped, 24h at most)")
	f.Int64Var(&c.Requests, "requests", 0, "how many to send (0: until --duration)")
	f.StringArrayVar(&targets, "target", []string{defaultTarget}, "NAME=URL to send to, as pods see it; may be repeated")
	f.StringVar(&host, "host", "", "Host header of all targets")
	f.StringToStringVar(&headers, "header", nil, "NAME=VALUE header of all targets; may be repeated")
	return cmd
}

func newLoadStop(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "stop", Short: "Stop the load and print its report", Args: cobra.NoArgs}
	printsReport(cmd, o, http.MethodPost, "/stop")
	return cmd
}

func newLoadReport(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use: "report", Short: "Print how the shop answered, by target and version", Args: cobra.NoArgs,
	}
	printsReport(cmd, o, http.MethodGet, "/report")
	return cmd
}

func printsReport(cmd *cobra.Command, o *options, method, path string) {
	output := cmd.Flags().StringP("output", "o", "text", "text or json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *output != "text" && *output != "json" {
			return fmt.Errorf("-o %s: want text or json", *output)
		}
		report, err := o.askLoad(cmd.Context(), method, path+"?format="+*output, nil)
		if err != nil {
			return err
		}
		_, err = cmd.OutOrStdout().Write(report)
		return err
	}
}

// askLoad sends one request to the load pod and returns its answer.
func (o *options) askLoad(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	dir, err := o.locate()
	if err != nil {
		return nil, err
	}
	status, err := dir.ReadStatus()
	if err != nil {
		return nil, err
	}
	base, err := loadURL(status)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	// No proxy of the environment stands before 127.0.0.1.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return nil, noLoadPod(status, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxReport))
	if err != nil {
		return nil, noLoadPod(status, err)
	}
	switch {
	case res.StatusCode < http.StatusMultipleChoices:
		return answer, nil
	case res.StatusCode >= http.StatusInternalServerError: // a relay or a sidecar, which has nobody behind it
		return nil, noLoadPod(status, fmt.Errorf("%s: %s", res.Status, strings.TrimSpace(string(answer))))
	}
	return nil, fmt.Errorf("load pod: %s", strings.TrimSpace(string(answer)))
}

// loadURL returns the relay to the load pod of the first cluster.
func loadURL(s state.Status) (string, error) {
	if s.State == state.Stopped || len(s.Clusters) == 0 {
		return "", errors.New("the lab does not run: start it with `lab up --live`")
	}
	c := s.Clusters[0]
	if c.State == state.Stopped {
		return "", fmt.Errorf("%s is stopped: start it with `lab start %s`", c.Name, c.Name)
	}
	if c.URLs["load"] == "" {
		return "", errors.New("pods of this lab do not run, so nothing can send requests: `lab down`, then `lab up --live`")
	}
	return c.URLs["load"], nil
}

func noLoadPod(s state.Status, err error) error {
	return fmt.Errorf("the load pod does not answer: %w\n"+
		"  is it there?   KUBECONFIG=%s kubectl -n load get pods\n"+
		"  if it is not:  it comes with the demo's Application load; see `mizzen get applications`", err, s.Clusters[0].Kubeconfig)
}
