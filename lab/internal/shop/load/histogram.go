package load

import (
	"math"
	"math/bits"
	"time"
)

// A bucket is at most 1/128 of its value wide: percentiles are at most 0.8 %
// too high, and never too low.
const (
	rowBits = 8
	rowSize = 1 << rowBits
	rows    = 64 - rowBits + 1
)

// histogram counts durations by the microsecond, as HdrHistogram does: rows of
// equally wide buckets, each row's twice as wide as those of the row before.
// Its memory does not grow with time: a row is there when it is used, 2 KiB
// each, and the durations that a request can take need fewer than 20 rows.
type histogram struct {
	rows  [rows]*[rowSize]uint64
	count uint64
	sum   time.Duration
	max   time.Duration
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	row, column := bucket(uint64(d.Microseconds()))
	if h.rows[row] == nil {
		h.rows[row] = &[rowSize]uint64{}
	}
	h.rows[row][column]++
	h.count++
	h.sum += d
	h.max = max(h.max, d)
}

func bucket(v uint64) (row, column int) {
	if row = bits.Len64(v) - rowBits; row <= 0 {
		return 0, int(v)
	}
	// The highest bit is always set and says nothing within the row, which
	// uses the upper half of its columns only.
	return row, int(v >> row)
}

// top returns the longest duration that falls into a bucket.
func top(row, column int) time.Duration {
	us := (uint64(column)+1)<<row - 1
	return time.Duration(min(us, uint64(math.MaxInt64/int64(time.Microsecond)))) * time.Microsecond
}

// quantile returns a duration that a share of all, from 0 to 1, do not
// exceed.
func (h *histogram) quantile(share float64) time.Duration {
	rank := uint64(math.Ceil(share * float64(h.count)))
	var seen uint64
	for row, columns := range h.rows {
		if columns == nil {
			continue
		}
		for column, n := range columns {
			if seen += n; n > 0 && seen >= rank {
				return min(top(row, column), h.max)
			}
		}
	}
	return h.max
}

// upTo counts the durations that are not longer than d.
func (h *histogram) upTo(d time.Duration) uint64 {
	last, end := bucket(uint64(d.Microseconds()))
	var n uint64
	for row, columns := range h.rows[:last+1] {
		if columns == nil {
			continue
		}
		for column, c := range columns {
			if row < last || column <= end {
				n += c
			}
		}
	}
	return n
}
