package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mizzen.dev/mizzen/lab/internal/shop"
	"mizzen.dev/mizzen/lab/internal/shop/settings"
)

func (s *Server) serveHealth(w http.ResponseWriter, _ *http.Request) {
	switch s.phase.Load() {
	case starting:
		http.Error(w, "starting", http.StatusServiceUnavailable)
	case draining:
		http.Error(w, "draining", http.StatusServiceUnavailable)
	default:
		fmt.Fprintln(w, "ok")
	}
}

// serveHeaders answers what arrived, so that a test sees what proxies add.
func serveHeaders(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"method": r.Method, "host": r.Host, "path": r.URL.Path, "from": r.RemoteAddr, "protocol": r.Proto, "headers": r.Header,
	})
}

func serveStatus(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.PathValue("code"))
	if err != nil || code < 200 || code > 599 {
		http.Error(w, "want a status from 200 to 599", http.StatusBadRequest)
		return
	}
	w.WriteHeader(code)
}

func serveDelay(w http.ResponseWriter, r *http.Request) {
	d, err := settings.ParseDuration(r.FormValue("d"))
	if err != nil {
		http.Error(w, "d: "+err.Error(), http.StatusBadRequest)
		return
	}
	if err := wait(r.Context(), d); err == nil {
		fmt.Fprintln(w, d)
	}
}

// serveGet fetches ?url= from inside the pod, by a connection of its own, and
// hands on status, type and body. ?host= replaces the Host header, ?timeout=
// the time that it may take. No answer is StatusNoAnswer with the reason.
func (s *Server) serveGet(w http.ResponseWriter, r *http.Request) {
	u, err := settings.ParseURL(r.FormValue("url"))
	if err != nil {
		http.Error(w, "url: "+err.Error(), http.StatusBadRequest)
		return
	}
	timeout := s.settings.Timeout
	if text := r.FormValue("timeout"); text != "" {
		if timeout, err = settings.ParseDuration(text); err != nil {
			http.Error(w, "timeout: "+err.Error(), http.StatusBadRequest)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	header := shop.Carried(r.Header)
	if u.Scheme == "grpc" {
		getGRPC(ctx, w, u, header)
		return
	}
	getHTTP(ctx, w, u, r.FormValue("host"), header)
}

func getGRPC(ctx context.Context, w http.ResponseWriter, u *url.URL, header http.Header) {
	conn, err := dial(u)
	if err != nil {
		http.Error(w, err.Error(), shop.StatusNoAnswer)
		return
	}
	defer func() { _ = conn.Close() }() // it was for this call alone
	reply := callGRPC(ctx, conn, u, header)
	writeJSON(w, reply.Status, reply)
}

func getHTTP(ctx context.Context, w http.ResponseWriter, u *url.URL, host string, header http.Header) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req.Header, req.Host = header, host
	client := newClient(&http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: time.Minute})
	res, err := client.Do(req)
	if err != nil {
		reply := noAnswer(err)
		http.Error(w, reply.Error, reply.Status)
		return
	}
	defer res.Body.Close()
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, io.LimitReader(res.Body, shop.MaxBody)) // the status is sent already
}
