package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen/lab/demo"
	"mizzen.dev/mizzen/lab/internal/gitserver"
	"mizzen.dev/mizzen/lab/internal/state"
)

const (
	// demoRepository is the name of the demo's repository.
	demoRepository = "demo"
	// demoSecret is the Secret that `make up` creates for its webhook.
	demoSecret = "demo-webhook"
)

func newDemo(o *options) *cobra.Command {
	var directory, url string
	var live, tracing bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Create the demo's repository, unless it exists, and print its URL",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if directory != "" {
				return demo.Write(directory, demo.Place{URL: url, Live: live, Tracing: tracing})
			}
			dir, err := o.locate()
			if err != nil {
				return err
			}
			_, err = createDemo(cmd.Context(), cmd.OutOrStdout(), dir, tracing)
			return err
		},
	}
	cmd.Flags().StringVar(&directory, "write", "", "write its files to an empty directory instead")
	cmd.Flags().StringVar(&url, "url", "", "with --write: where these files will be served")
	cmd.Flags().BoolVar(&live, "live", false, "with --write: for a cluster whose pods run")
	cmd.Flags().BoolVar(&tracing, "tracing", false, "with Jaeger, in a cluster whose pods run")
	return cmd
}

// errNotServed says that the demo has no URL.
var errNotServed = errors.New("the lab does not run, so that the demo has no URL: start it with `lab up`")

// placeOfDemo is where the lab serves the demo, and whether its pods run.
func placeOfDemo(dir state.Dir, tracing bool) (demo.Place, error) {
	status, err := dir.ReadStatus()
	if err != nil {
		return demo.Place{}, err
	}
	if status.State == state.Stopped || status.URLs["git"] == "" {
		return demo.Place{}, errNotServed
	}
	spec, err := dir.ReadSpec()
	return demo.Place{
		URL: status.URLs["git"] + "/" + demoRepository + ".git", WebhookSecret: demoSecret,
		Live: spec.Live, Tracing: spec.Live && tracing,
	}, err
}

// createDemo creates the repository of a lab that runs, prints its URL, and
// reports whether it was there already: then it has what the user pushed since.
func createDemo(ctx context.Context, w io.Writer, dir state.Dir, tracing bool) (existed bool, err error) {
	if gitserver.Root(dir.Git()).Exists(demoRepository) {
		return true, printRepository(w, dir, demoRepository)
	}
	at, err := placeOfDemo(dir, tracing)
	if err != nil {
		return false, err
	}
	version, err := demo.Version()
	if err != nil {
		return false, err
	}
	files, err := os.MkdirTemp("", "lab-demo-")
	if err != nil {
		return false, fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = os.RemoveAll(files) }()
	if err := demo.Write(files, at); err != nil {
		return false, err
	}
	first := &gitserver.Commit{Dir: files, Author: demo.Author, Date: demo.Date, Message: demo.Message}
	err = createRepository(ctx, w, dir, demoRepository, gitserver.Settings{Laid: gitserver.Laid{Version: version}}, first)
	if errors.Is(err, errNo) { // somebody else was faster
		return true, nil
	}
	return false, err
}
