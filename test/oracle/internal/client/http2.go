package client

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// streams is a connection of HTTP/2 that has one stream at a time.
type streams struct {
	net.Conn
	framer  *http2.Framer
	encoded bytes.Buffer
	encoder *hpack.Encoder
	last    uint32 // odd
}

func newStreams(conn net.Conn) (*streams, error) {
	s := &streams{Conn: conn, last: 1, framer: http2.NewFramer(conn, bufio.NewReader(conn))}
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.encoder = hpack.NewEncoder(&s.encoded)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReset, err)
	}
	if err := s.framer.WriteSettings(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReset, err)
	}
	return s, nil
}

func (s *streams) exchange(r Request) (*Answer, bool, error) {
	if err := s.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, false, err
	}
	s.last += 2
	if err := s.send(r); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrReset, err)
	}
	a := &Answer{Header: http.Header{}}
	var body strings.Builder
	for {
		frame, err := s.framer.ReadFrame()
		if err != nil {
			return nil, false, fmt.Errorf("%w: %w", ErrReset, err)
		}
		done, err := s.receive(frame, a, &body)
		if err != nil {
			return nil, false, err
		}
		if done {
			a.Body = body.String()
			// A client's stream identifiers end; a connection ends long before.
			return a, s.last < 1<<20 && a.Header.Get(Probe) != "", nil
		}
	}
}

func (s *streams) send(r Request) error {
	scheme := "http"
	if r.encrypts() {
		scheme = "https"
	}
	s.encoded.Reset()
	s.write(":method", r.Method)
	s.write(":scheme", scheme)
	s.write(":authority", r.Host)
	s.write(":path", r.Path)
	for _, h := range r.Header {
		s.write(strings.ToLower(h[0]), h[1])
	}
	return s.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: s.last, BlockFragment: s.encoded.Bytes(), EndHeaders: true, EndStream: true,
	})
}

func (s *streams) write(name, value string) {
	// It writes to memory: there is nothing to fail.
	_ = s.encoder.WriteField(hpack.HeaderField{Name: name, Value: value})
}

// receive takes one frame; done is whether it ended the stream.
func (s *streams) receive(frame http2.Frame, a *Answer, body *strings.Builder) (done bool, err error) {
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return false, s.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return false, s.framer.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		return false, fmt.Errorf("%w: go away: %s", ErrReset, f.ErrCode)
	}
	if frame.Header().StreamID != s.last {
		return false, nil
	}
	switch f := frame.(type) {
	case *http2.RSTStreamFrame:
		return false, fmt.Errorf("%w: stream reset: %s", ErrReset, f.ErrCode)
	case *http2.MetaHeadersFrame:
		return f.StreamEnded(), a.add(f)
	case *http2.DataFrame:
		body.Write(f.Data())
		// The stream ends with its few bytes; the connection's window must not.
		if n := len(f.Data()); n > 0 {
			err = s.framer.WriteWindowUpdate(0, uint32(n))
		}
		return f.StreamEnded(), err
	}
	return false, nil
}

// add takes the headers or trailers of an answer.
func (a *Answer) add(f *http2.MetaHeadersFrame) error {
	for _, h := range f.Fields {
		if h.Name == ":status" {
			status, err := strconv.Atoi(h.Value)
			if err != nil {
				return fmt.Errorf("status of HTTP/2: %w", err)
			}
			a.Status = status
			continue
		}
		a.Header.Add(h.Name, h.Value)
	}
	return nil
}
