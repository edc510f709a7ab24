package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen/lab/internal/state"
)

func newStatus(o *options) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what runs and where (exit code 1 if the lab is not ready)",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			status, err := dir.ReadStatus()
			if err != nil {
				return err
			}
			dropSilent(cmd.Context(), status)
			print := printStatus
			switch output {
			case "text":
			case "json":
				print = printJSON
			default:
				return fmt.Errorf("-o %s: want text or json", output)
			}
			if err := print(cmd.OutOrStdout(), status); err != nil {
				return err
			}
			if status.State != state.Ready {
				return errNo
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// ask is how long a Service that may not be there has to answer.
const ask = time.Second

// dropSilent leaves out the address of Jaeger where it does not run: unlike the
// others it is only there when asked for.
func dropSilent(ctx context.Context, s state.Status) {
	client := &http.Client{Timeout: ask, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, c := range s.Clusters {
		if url := c.URLs["tracing"]; url != "" && (c.State != state.Ready || !answers(ctx, client, url+"/api/services")) {
			delete(c.URLs, "tracing")
		}
	}
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	return res.Body.Close() == nil && res.StatusCode == http.StatusOK
}

func printJSON(w io.Writer, s state.Status) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(s)
}

func describe(c state.Cluster) string {
	if c.Live {
		return string(c.State) + ", live"
	}
	return string(c.State)
}

func printStatus(w io.Writer, s state.Status) error {
	fmt.Fprintf(w, "lab %s in %s\n", s.State, s.Dir)
	if s.Message != "" {
		fmt.Fprintf(w, "  %s\n", s.Message)
	}
	if git := s.URLs["git"]; git != "" && s.Supervisor.PID != 0 {
		fmt.Fprintf(w, "git        %s\n", git)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, c := range s.Clusters {
		fmt.Fprintf(t, "%s\t%s\t%s\tKUBECONFIG=%s\n", c.Name, describe(c), c.URLs["api"], c.Kubeconfig)
		for _, name := range slices.Sorted(maps.Keys(c.URLs)) {
			if c.Live && name != "api" && name != "git" {
				fmt.Fprintf(t, "\t%s\t%s\n", name, c.URLs[name])
			}
		}
		if c.Message != "" {
			fmt.Fprintf(t, "\t%s\n", c.Message)
		}
	}
	return t.Flush()
}
