package mizzen

import (
	"io/fs"
	"time"
)

// Commit is a revision of a Repository with what people know it by.
type Commit struct {
	// ID is the full object id of the commit; for a working tree it is "".
	ID string `json:"id"`
	// Author is the author's name, without the address.
	Author string `json:"author,omitempty"`
	// Time is when the commit was made.
	Time time.Time `json:"time,omitzero"`
	// Subject is the first line of the message, at most 200 bytes.
	Subject string `json:"subject,omitempty"`
}

// Short returns the first 8 characters of the ID, or "working tree".
func (c Commit) Short() string {
	if c.ID == "" {
		return "working tree"
	}
	return c.ID[:min(8, len(c.ID))]
}

// Snapshot is the content of a Repository at one revision. It never changes,
// and it cannot be left: names are those of fs.ValidPath, and a symbolic link
// that points out of the tree does not exist (fs.ErrNotExist wrapped in an
// Error of Kind Refused).
type Snapshot interface {
	fs.ReadFileFS
	fs.ReadDirFS
	fs.StatFS
	// Commit is the revision that this is the content of.
	Commit() Commit
	// ID returns the content address of a file or directory: the same ID means
	// the same bytes below it. It fails with fs.ErrNotExist if there is none.
	ID(name string) (string, error)
}
