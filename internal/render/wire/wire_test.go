package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mizzen.dev/mizzen"
)

func TestFrames(t *testing.T) {
	var pipe bytes.Buffer
	c := NewConn(&pipe, &pipe, 1<<20)
	long := bytes.Repeat([]byte("x"), 1<<20)
	for _, payload := range [][]byte{nil, []byte("a"), long, []byte("b")} {
		if err := c.Send(Chunk, payload); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range [][]byte{{}, []byte("a"), long, []byte("b")} {
		kind, got, err := c.Read()
		if err != nil || kind != Chunk || !bytes.Equal(got, want) {
			t.Errorf("%q: %d bytes, %v; want %d", kind, len(got), err, len(want))
		}
	}
	if _, _, err := c.Read(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if err := c.Send(Chunk, long, []byte("1")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(); !errors.Is(err, ErrProtocol) {
		t.Errorf("too long: %v", err)
	}
	cut := NewConn(strings.NewReader("C\x00\x00\x00\x05ab"), io.Discard, 10)
	if _, _, err := cut.Read(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off: %v", err)
	}
}

func TestErrorsSurvive(t *testing.T) {
	user := &mizzen.Error{
		Kind: mizzen.Refused, Object: "a", Origin: mizzen.Origin{File: "b", Line: 3, Key: "k"},
		Err: fmt.Errorf("out: %w", fs.ErrNotExist), Remedy: "do it",
	}
	for _, err := range []error{
		errors.New("plain"), fs.ErrNotExist, &fs.PathError{Op: "stat", Path: "x", Err: fs.ErrNotExist},
		user, &mizzen.Error{Kind: mizzen.Timeout}, &mizzen.Error{Kind: mizzen.Invalid, Err: errors.New("why")},
	} {
		got := DecodeError(EncodeError(err))
		if got.Error() != err.Error() || mizzen.KindOf(got) != mizzen.KindOf(err) || errors.Is(got, fs.ErrNotExist) != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v became %v (%s)", err, got, mizzen.KindOf(got))
		}
	}
	var e *mizzen.Error
	if errors.As(DecodeError(EncodeError(fmt.Errorf("around: %w", user))), &e); cmp.Diff(e.Origin, user.Origin) != "" || e.Remedy != user.Remedy {
		t.Errorf("got %+v", e)
	}
	if long := EncodeError(errors.New(strings.Repeat("ä", 1<<20))); len(long) > 2*maxMessage {
		t.Errorf("%d bytes of error", len(long))
	}
}

func TestEntries(t *testing.T) {
	want := []Entry{{"a", TypeFile}, {"b c", TypeDir}, {strings.Repeat("x", 300), TypeLink}, {"", TypeOther}}
	got, err := DecodeEntries(EncodeEntries(want))
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, m := range []EntryType{TypeFile, TypeDir, TypeLink, TypeOther} {
		if TypeOf(m.Mode()) != m {
			t.Errorf("%q is not the type of its mode", m)
		}
	}
}

// FuzzDecode feeds what a hostile worker might say.
func FuzzDecode(f *testing.F) {
	f.Add(Question{OpRead, "a/b"}.Encode())
	f.Add(EncodeEntries([]Entry{{"a", TypeFile}}))
	f.Add(EncodeError(fs.ErrNotExist))
	f.Add([]byte("C\x00\x00\x00\x05abcde"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if q, err := DecodeQuestion(data); err == nil && (!fs.ValidPath(q.Name) || !bytes.Equal(q.Encode(), data)) {
			t.Errorf("accepted %q", q.Name)
		}
		if entries, err := DecodeEntries(data); err == nil && len(entries) > len(data) {
			t.Errorf("%d entries of %d bytes", len(entries), len(data))
		}
		if DecodeError(data) == nil {
			t.Error("no error")
		}
		_, _ = DecodeAnswer(data)
		c := NewConn(bytes.NewReader(data), io.Discard, 100)
		for {
			_, payload, err := c.Read()
			if err != nil {
				break
			}
			if len(payload) > 100 {
				t.Errorf("a payload of %d bytes", len(payload))
			}
		}
	})
}
