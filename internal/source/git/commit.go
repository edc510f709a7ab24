package git

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"mizzen.dev/mizzen"
)

// maxSubject bounds the subject of a commit, in bytes.
const maxSubject = 200

// commit is a parsed commit object.
type commit struct {
	mizzen.Commit
	id   oid
	tree oid
}

// parseCommit reads a commit object. A defect in what people wrote, such as
// the author's line, leaves that part empty; a commit without a tree is
// refused.
func parseCommit(id oid, data []byte) (*commit, error) {
	headers, message, _ := strings.Cut(string(data), "\n\n")
	c := &commit{id: id, Commit: mizzen.Commit{ID: id.hex()}}
	for line := range strings.SplitSeq(headers, "\n") {
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "tree":
			tree, err := parseID(value)
			if err != nil || c.tree != "" || len(tree) != len(id) {
				return nil, errors.New("malformed commit: its tree cannot be read")
			}
			c.tree = tree
		case "author":
			name, _, _ := strings.Cut(value, " <")
			c.Author = printable(strings.TrimSpace(name), maxSubject)
		case "committer":
			c.Time = parseTime(value)
		}
	}
	if c.tree == "" {
		return nil, errors.New("malformed commit: it has no tree")
	}
	subject, _, _ := strings.Cut(strings.TrimLeft(message, "\n"), "\n")
	c.Subject = printable(strings.TrimSpace(subject), maxSubject)
	return c, nil
}

// parseTime reads the end of a committer's line: seconds and time zone.
func parseTime(line string) time.Time {
	_, stamp, _ := strings.Cut(line, "> ")
	seconds, _, _ := strings.Cut(stamp, " ")
	n, err := strconv.ParseInt(seconds, 10, 64)
	// The year 9999 is the last one that JSON can tell.
	if err != nil || n < 0 || n > 253402300799 {
		return time.Time{}
	}
	return time.Unix(n, 0).UTC()
}
