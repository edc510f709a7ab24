package wire

import (
	"encoding/binary"
	"fmt"
	"io/fs"
)

// Op is what a worker wants to know of a file.
type Op byte

// The look-ups.
const (
	// OpStat asks what the name is: a file, a directory, nothing.
	OpStat Op = 's'
	// OpRead asks for the content of a file.
	OpRead Op = 'r'
	// OpList asks for names and types of the entries of a directory.
	OpList Op = 'l'
)

// MaxName is the longest name that may be asked for, in bytes. It is that of
// PATH_MAX in Linux.
const MaxName = 4096

// Question is one look-up of a worker.
type Question struct {
	Op   Op
	Name string
}

// Encode returns the payload of an Ask frame.
func (q Question) Encode() []byte { return append([]byte{byte(q.Op)}, q.Name...) }

// DecodeQuestion is the inverse of Encode. It refuses what is not a look-up of
// a name in the form of fs.ValidPath.
func DecodeQuestion(payload []byte) (Question, error) {
	if len(payload) < 2 || len(payload) > MaxName+1 {
		return Question{}, fmt.Errorf("%w: a question of %d bytes", ErrProtocol, len(payload))
	}
	q := Question{Op: Op(payload[0]), Name: string(payload[1:])}
	switch q.Op {
	case OpStat, OpRead, OpList:
	default:
		return Question{}, fmt.Errorf("%w: unknown look-up %q", ErrProtocol, payload[0])
	}
	if !fs.ValidPath(q.Name) {
		return Question{}, fmt.Errorf("%w: %q is not a path within the repository", ErrProtocol, q.Name)
	}
	return q, nil
}

// EntryType is the type of a file as a worker sees it. Size, mode and time
// stay out, so that a look-up depends on nothing else.
type EntryType byte

// The types of files.
const (
	TypeFile  EntryType = 'f'
	TypeDir   EntryType = 'd'
	TypeLink  EntryType = 'l'
	TypeOther EntryType = 'o'
)

// TypeOf reduces a file mode to an EntryType.
func TypeOf(mode fs.FileMode) EntryType {
	switch {
	case mode.IsDir():
		return TypeDir
	case mode.IsRegular():
		return TypeFile
	case mode.Type() == fs.ModeSymlink:
		return TypeLink
	}
	return TypeOther
}

// Mode returns the file mode that stands for t: all of its permissions say
// that the content can only be read.
func (t EntryType) Mode() fs.FileMode {
	switch t {
	case TypeFile:
		return 0o444
	case TypeDir:
		return fs.ModeDir | 0o555
	case TypeLink:
		return fs.ModeSymlink | 0o777
	}
	return fs.ModeIrregular
}

// Entry is one line of a listing.
type Entry struct {
	Name string
	Type EntryType
}

// The first byte of an answer: what follows is data, or an Err as JSON.
const (
	answerData  = '+'
	answerError = '-'
)

// EncodeEntries returns the listing as the data of an answer.
func EncodeEntries(entries []Entry) []byte {
	size := 0
	for _, e := range entries {
		size += len(e.Name) + 4
	}
	out := make([]byte, 0, size)
	for _, e := range entries {
		out = append(out, byte(e.Type))
		out = binary.AppendUvarint(out, uint64(len(e.Name)))
		out = append(out, e.Name...)
	}
	return out
}

// DecodeEntries is the inverse of EncodeEntries.
func DecodeEntries(data []byte) ([]Entry, error) {
	var entries []Entry
	for len(data) > 0 {
		t := EntryType(data[0])
		n, used := binary.Uvarint(data[1:])
		if used <= 0 || n > uint64(len(data)-1-used) {
			return nil, fmt.Errorf("%w: a listing is cut off", ErrProtocol)
		}
		data = data[1+used:]
		entries = append(entries, Entry{Name: string(data[:n]), Type: t})
		data = data[n:]
	}
	return entries, nil
}

// SendAnswer sends data, or err if it is not nil.
func (c *Conn) SendAnswer(data []byte, err error) error {
	if err != nil {
		return c.Send(Answer, []byte{answerError}, EncodeError(err))
	}
	return c.Send(Answer, []byte{answerData}, data)
}

// DecodeAnswer returns the data of an answer, or the error that it carries.
func DecodeAnswer(payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return nil, fmt.Errorf("%w: an empty answer", ErrProtocol)
	}
	if payload[0] == answerError {
		return nil, DecodeError(payload[1:])
	}
	return payload[1:], nil
}
