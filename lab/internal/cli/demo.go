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

// demoRepository is the name of the demo's repository.
const demoRepository = "demo"

func newDemo(o *options) *cobra.Command {
	var directory string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Create the demo's repository, unless it exists, and print its URL",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if directory != "" {
				return demo.Write(directory)
			}
			dir, err := o.locate()
			if err != nil {
				return err
			}
			return createDemo(cmd.Context(), cmd.OutOrStdout(), dir)
		},
	}
	cmd.Flags().StringVar(&directory, "write", "", "write its files to an empty directory instead")
	return cmd
}

func createDemo(ctx context.Context, w io.Writer, dir state.Dir) error {
	files, err := os.MkdirTemp("", "lab-demo-")
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { _ = os.RemoveAll(files) }()
	if !gitserver.Root(dir.Git()).Exists(demoRepository) {
		if err := demo.Write(files); err != nil {
			return err
		}
	}
	first := &gitserver.Commit{Dir: files, Author: demo.Author, Date: demo.Date, Message: demo.Message}
	err = createRepository(ctx, w, dir, demoRepository, gitserver.Settings{}, first)
	if errors.Is(err, errNo) {
		return nil // it has what the user pushed since
	}
	return err
}
