// Command lab runs a real Kubernetes, or several, and a Git server as
// processes of this machine. See `lab --help`.
package main

import (
	"os"
	"runtime"

	"mizzen.dev/mizzen/lab/internal/cli"
)

// The first thread cannot end, and so must not be one that enters a namespace
// for a moment: it is main's alone.
func init() { runtime.LockOSThread() }

func main() { os.Exit(cli.Run(os.Args[1:])) }
