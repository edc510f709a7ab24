package upstream

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// preface is what a client of HTTP/2 begins with.
const preface = http2.ClientPreface

// session answers the streams of one connection of HTTP/2.
type session struct {
	upstreams *Upstreams
	cluster   string
	framer    *http2.Framer
	encoded   bytes.Buffer
	encoder   *hpack.Encoder
	pending   map[uint32]Hit // whose body has not ended
}

func (u *Upstreams) serveHTTP2(r io.Reader, w io.Writer, cluster string) {
	if _, err := io.CopyN(io.Discard, r, int64(len(preface))); err != nil {
		return
	}
	s := &session{upstreams: u, cluster: cluster, framer: http2.NewFramer(w, r), pending: map[uint32]Hit{}}
	s.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.encoder = hpack.NewEncoder(&s.encoded)
	if s.framer.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1}) != nil {
		return
	}
	for {
		frame, err := s.framer.ReadFrame()
		if err != nil || s.frame(frame) != nil {
			return
		}
	}
}

func (s *session) frame(frame http2.Frame) error {
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return s.framer.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return s.framer.WritePing(true, f.Data)
		}
	case *http2.MetaHeadersFrame:
		return s.begin(f)
	case *http2.DataFrame:
		if h, ok := s.pending[f.StreamID]; ok && f.StreamEnded() {
			delete(s.pending, f.StreamID)
			return s.respond(f.StreamID, h)
		}
	}
	return nil
}

// begin takes the headers of a request.
func (s *session) begin(f *http2.MetaHeadersFrame) error {
	h := Hit{
		Cluster: s.cluster, Method: f.PseudoValue("method"), Path: f.PseudoValue("path"), Host: f.PseudoValue("authority"),
		Protocol: "HTTP/2", Header: http.Header{},
	}
	for _, x := range f.RegularFields() {
		h.Header.Add(x.Name, x.Value)
	}
	if f.StreamEnded() || h.Method == http.MethodConnect { // which goes on in another protocol
		return s.respond(f.StreamID, h)
	}
	s.pending[f.StreamID] = h
	return nil
}

// respond writes the answer: that of a gRPC server to a request of gRPC.
func (s *session) respond(stream uint32, h Hit) error {
	s.upstreams.note(h)
	status, extra := answer(h)
	s.encoded.Reset()
	s.write(":status", strconv.Itoa(status))
	for _, x := range extra {
		s.write(x[0], x[1])
	}
	if kind := h.Header.Get("Content-Type"); strings.HasPrefix(kind, "application/grpc") {
		s.write("content-type", kind)
		s.write("grpc-status", "0")
	}
	return s.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: s.encoded.Bytes(), EndHeaders: true, EndStream: true,
	})
}

func (s *session) write(name, value string) {
	// It writes to memory: there is nothing to fail.
	_ = s.encoder.WriteField(hpack.HeaderField{Name: name, Value: value})
}
