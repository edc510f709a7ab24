package gitserver

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Of a line of /proc/net/tcp (proc_net(5)): the addresses, the state, and the
// user id of the socket.
const (
	fieldLocal  = 1
	fieldRemote = 2
	fieldState  = 3
	fieldUser   = 7
	// established is the only state in which the socket surely is somebody's:
	// one that was closed is said to be root's.
	established = "01"
)

// errStranger says that a push comes from somebody else's account.
var errStranger = errors.New("what is pushed here is run as the owner of this lab, so only its account and root may push")

// admit fails unless the client of r, a process of this machine, is of our own
// account or root's.
func admit(r *http.Request) error {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(fmt.Stringer)
	ours, err := netip.ParseAddrPort(fmt.Sprint(local))
	if err != nil {
		return fmt.Errorf("%w: %w", errStranger, err)
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return fmt.Errorf("%w: %w", errStranger, err)
	}
	uid, err := userOf(peer, ours)
	if err != nil {
		return fmt.Errorf("%w: %w", errStranger, err)
	}
	if uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("%w; you are user %d", errStranger, uid)
	}
	return nil
}

// userOf returns the user id of the socket of this machine that is connected
// from an address to another one. The kernel tells it as our user namespace
// knows it.
func userOf(from, to netip.AddrPort) (int, error) {
	// A socket for both IPv6 and IPv4 is listed under the former.
	mapped := "0000000000000000" + word([]byte{0, 0, 0xff, 0xff})
	// The tables are read in pieces: what is listed may be missed when others end
	// meanwhile.
	for range 3 {
		for table, prefix := range map[string]string{"/proc/net/tcp": "", "/proc/net/tcp6": mapped} {
			uid, err := userIn(table, prefix+listed(from), prefix+listed(to))
			if err == nil || !errors.Is(err, os.ErrNotExist) {
				return uid, err
			}
		}
	}
	return 0, fmt.Errorf("whose connection that from %s is, the kernel does not say: %w", from, os.ErrNotExist)
}

func userIn(table, from, to string) (int, error) {
	f, err := os.Open(table)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > fieldUser && fields[fieldLocal] == from && fields[fieldRemote] == to && fields[fieldState] == established {
			return strconv.Atoi(fields[fieldUser])
		}
	}
	return 0, fmt.Errorf("%s: %w", table, os.ErrNotExist)
}

// listed is an IPv4 address as those tables have it.
func listed(a netip.AddrPort) string {
	four := a.Addr().Unmap().As4()
	return fmt.Sprintf("%s:%04X", word(four[:]), a.Port())
}

// word is how four bytes of an address are printed: as one number.
func word(b []byte) string { return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(b)) }
