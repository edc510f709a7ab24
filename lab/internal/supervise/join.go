package supervise

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// pair names two clusters by their numbers, the lower one first.
type pair [2]int

// links returns cluster n's ends of its links to all others, and the ranges of
// the others. The supervisor keeps both ends of each: a cluster that is started
// again gets the same ones, and the other need not notice.
func (s *supervisor) links(n int) (ends []*os.File, ranges []string, err error) {
	if !s.spec.Joined {
		return nil, nil, nil
	}
	for other := 1; other <= s.spec.Clusters; other++ {
		if other == n {
			continue
		}
		pods, _, err := s.spec.Ranges(other)
		if err != nil {
			return nil, nil, err
		}
		p, end := pair{n, other}, 0
		if other < n {
			p, end = pair{other, n}, 1
		}
		both, ok := s.pairs[p]
		if !ok {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return nil, nil, fmt.Errorf("join %d and %d: %w", p[0], p[1], err)
			}
			both = [2]*os.File{os.NewFile(uintptr(fds[0]), "link"), os.NewFile(uintptr(fds[1]), "link")}
			s.pairs[p] = both
		}
		ends = append(ends, both[end])
		ranges = append(ranges, pods.String())
	}
	return ends, ranges, nil
}
