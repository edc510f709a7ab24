package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"mizzen.dev/mizzen"
)

var errNoTerminal = errors.New("nobody is here to confirm")

// confirm asks a person. Without one, and without yes, it refuses.
func (a *app) confirm(ctx context.Context, question string, yes bool) error {
	if yes {
		return nil
	}
	if !a.Terminal {
		return &mizzen.Error{Kind: mizzen.Refused, Object: "standard input is no terminal", Err: errNoTerminal, Remedy: "use --yes"}
	}
	fmt.Fprintf(a.Err, "%s [y/N] ", question)
	type reply struct {
		line string
		err  error
	}
	read := make(chan reply, 1)
	// A read of a terminal cannot be ended, but a question can.
	go func() {
		line, err := bufio.NewReader(a.In).ReadString('\n')
		read <- reply{line, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.Err)
		return context.Cause(ctx)
	case r := <-read:
		if r.err != nil && r.line == "" {
			return fmt.Errorf("read the answer: %w", r.err)
		}
		if said := strings.ToLower(strings.TrimSpace(r.line)); said != "y" && said != "yes" {
			fmt.Fprintln(a.Err, "nothing was done")
			return answer(ExitNo)
		}
		return nil
	}
}
