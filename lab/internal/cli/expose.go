package cli

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mizzen.dev/mizzen/lab/internal/relay"
	"mizzen.dev/mizzen/lab/internal/state"
)

func newExpose(o *options) *cobra.Command {
	names := strings.Join(slices.Sorted(maps.Keys(relay.Ways)), ", ")
	return &cobra.Command{
		Use:   "expose NAME ADDRESS",
		Short: "Let live clusters reach a port of this host",
		Long: "Lets pods of live clusters reach ADDRESS, which is 127.0.0.1:PORT, as host.lab.internal: it is the only way out.\n" +
			"The names, and the ports of host.lab.internal that they stand for, are fixed: mizzen is 9402.",
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			name, address := args[0], args[1]
			if _, known := relay.Ways[name]; !known {
				return fmt.Errorf("nothing called %q can be exposed, only: %s", name, names)
			}
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return fmt.Errorf("%q is no address such as 127.0.0.1:9402", address)
			}
			if !at.Addr().IsLoopback() {
				return fmt.Errorf("%s is not of this host alone: only addresses of 127.0.0.0/8 are let out to", address)
			}
			dir, err := o.locate()
			if err != nil {
				return err
			}
			if err := dir.Create(); err != nil {
				return err
			}
			_, err = dir.ChangeSpec(func(s *state.Spec) error {
				if s.Exposed == nil {
					s.Exposed = map[string]string{}
				}
				s.Exposed[name] = address
				return nil
			})
			return err
		},
	}
}
