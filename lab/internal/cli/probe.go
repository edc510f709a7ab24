package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen/lab/internal/node"
	"mizzen.dev/mizzen/lab/internal/process"
	"mizzen.dev/mizzen/lab/internal/state"
)

// probeCommand is the hidden command that tries what a live node does, in
// namespaces of its own, once it has read a byte.
const probeCommand = "__probe"

func newProbe() *cobra.Command {
	var separate bool
	cmd := &cobra.Command{
		Use: probeCommand, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			probes, err := node.Probe(cmd.InOrStdin(), separate)
			if err != nil {
				return err
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(probes)
		},
	}
	cmd.Flags().BoolVar(&separate, "user-namespace", false, "ids are mapped")
	return cmd
}

// probe tries what a live node does. Its error says why namespaces could not be
// had.
func probe(ctx context.Context, dir state.Dir) (node.Probes, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var found node.Probes
	gate, open, err := os.Pipe()
	if err != nil {
		return found, err
	}
	defer gate.Close()
	defer open.Close()
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	separate := process.Isolate(cmd)
	cmd.Args = []string{"lab", probeCommand, "--user-namespace=" + strconv.FormatBool(separate)}
	cmd.Dir = string(dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = gate, &stdout, &stderr
	if err := cmd.Start(); err != nil {
		return found, fmt.Errorf("refused: %w", errors.Unwrap(err))
	}
	if separate {
		err = process.MapIDs(cmd.Process.Pid)
	}
	if err == nil {
		_, err = open.Write([]byte{1})
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return found, err
	}
	if err := cmd.Wait(); err != nil {
		return found, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return found, json.Unmarshal(stdout.Bytes(), &found)
}
