// Command mizzen is GitOps for the service mesh: a command line, a controller
// and, later, a console in one binary.
package main

import (
	"context"
	"os"

	"golang.org/x/term"

	"mizzen.dev/mizzen/internal/cli"
	"mizzen.dev/mizzen/internal/render"
	"mizzen.dev/mizzen/internal/render/worker"
	traffic "mizzen.dev/mizzen/internal/traffic/worker"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case render.WorkerCommand: // confines itself before anything else is set up
			os.Exit(worker.Main(os.Args[2:]))
		case traffic.Command:
			os.Exit(traffic.Main(os.Args[2:]))
		}
	}
	terminal := term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd()))
	color := cli.Color(term.IsTerminal(int(os.Stdout.Fd())), os.Getenv)
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Terminal: terminal, Color: color,
	}))
}
