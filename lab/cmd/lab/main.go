// Command lab runs a real Kubernetes, or several, and a Git server as
// processes of this machine. See `lab --help`.
package main

import (
	"os"

	"mizzen.dev/mizzen/lab/internal/cli"
)

func main() { os.Exit(cli.Run(os.Args[1:])) }
