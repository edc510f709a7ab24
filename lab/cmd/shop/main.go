// Command shop is the demo's server and its load generator. See `shop help`.
package main

import (
	"os"

	"mizzen.dev/mizzen/lab/internal/shop/command"
)

func main() { os.Exit(command.Run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)) }
