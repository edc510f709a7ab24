package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen/lab/internal/gitserver"
	"mizzen.dev/mizzen/lab/internal/state"
)

// author makes the commits of `lab git create --from`.
const author = "Lab <lab@lab.test>"

func newGit(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "git", Short: "Repositories of the lab's Git server"}
	cmd.AddCommand(newGitCreate(o), newGitHook(o), newGitList(o))
	return cmd
}

func newGitCreate(o *options) *cobra.Command {
	var from, user, passwordFile string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Create a repository and print its URL (exit code 1 if it exists)",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			settings := gitserver.Settings{User: user}
			if passwordFile != "" {
				data, err := os.ReadFile(passwordFile)
				if err != nil {
					return fmt.Errorf("password: %w", err)
				}
				settings.Password = strings.TrimRight(string(data), "\n")
			}
			var first *gitserver.Commit
			if from != "" {
				first = &gitserver.Commit{Dir: from, Author: author, Date: time.Now(), Message: "Import " + args[0]}
			}
			return createRepository(cmd.Context(), cmd.OutOrStdout(), dir, args[0], settings, first)
		},
	}
	f := cmd.Flags()
	f.StringVar(&from, "from", "", "directory whose files are the first commit of branch "+gitserver.Branch)
	f.StringVar(&user, "user", "", "user whom the repository asks for")
	f.StringVar(&passwordFile, "password-file", "", "file with the user's password")
	cmd.MarkFlagsRequiredTogether("user", "password-file")
	return cmd
}

// createRepository creates it and prints its URL; one that exists stays, and
// the answer is no.
func createRepository(ctx context.Context, w io.Writer, dir state.Dir, name string, s gitserver.Settings, first *gitserver.Commit) error {
	if err := dir.Create(); err != nil {
		return err
	}
	err := gitserver.Root(dir.Git()).Create(ctx, name, s, first)
	if err != nil && !errors.Is(err, gitserver.ErrExists) {
		return err
	}
	if printErr := printRepository(w, dir, name); printErr != nil {
		return printErr
	}
	if err != nil {
		return errNo
	}
	return nil
}

// printRepository prints the URL, or the directory while nobody serves it.
func printRepository(w io.Writer, dir state.Dir, name string) error {
	status, err := dir.ReadStatus()
	if err != nil {
		return err
	}
	base := status.URLs["git"]
	if status.State == state.Stopped || base == "" {
		base = dir.Git()
	}
	_, err = fmt.Fprintf(w, "%s/%s.git\n", base, name)
	return err
}

func newGitHook(o *options) *cobra.Command {
	var only bool
	cmd := &cobra.Command{
		Use:   "hook NAME URL SECRET",
		Short: "Announce each push to a URL, as GitHub does, signed with the secret",
		Args:  cobra.ExactArgs(3),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			if u, err := url.Parse(args[1]); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				return fmt.Errorf("%q is no http or https URL", args[1])
			}
			root, hook := gitserver.Root(dir.Git()), gitserver.Hook{URL: args[1], Secret: args[2]}
			if only {
				return root.SetHooks(args[0], hook)
			}
			return root.AddHook(args[0], hook)
		},
	}
	cmd.Flags().BoolVar(&only, "only", false, "announce pushes to no other URL any more")
	return cmd
}

func newGitList(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Print the URLs of the repositories",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := o.locate()
			if err != nil {
				return err
			}
			names, err := gitserver.Root(dir.Git()).Names()
			if err != nil {
				return err
			}
			for _, name := range names {
				if err := printRepository(cmd.OutOrStdout(), dir, name); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
