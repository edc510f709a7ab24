package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a running bin/mizzen.
type process struct {
	cmd *exec.Cmd
	url string
	log string
}

// startMizzen runs the controller against the lab and returns at once.
func startMizzen(ctx context.Context, l *lab) (*process, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	_ = listener.Close()
	p := &process{url: "http://" + address, log: filepath.Join(l.dir, "mizzen.log")}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command("bin/mizzen", "up", "--kubeconfig", l.kubeconfig, "--state-dir", filepath.Join(l.dir, "state"),
		"--listen", address, "--pprof", "--log-format", "json")
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return p, p.cmd.Start()
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait()
}

func (p *process) get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return string(b), err
}

// metric returns the sum of the series whose text begins with name, which may
// go on with labels. It is an error if there is none.
func (p *process) metric(ctx context.Context, name string) (float64, error) {
	body, err := p.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	var sum float64
	found := false
	for scanner := bufio.NewScanner(strings.NewReader(body)); scanner.Scan(); {
		rest, ok := strings.CutPrefix(scanner.Text(), name)
		if !ok || rest == "" || !strings.ContainsRune(" {,}", rune(rest[0])) {
			continue
		}
		value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+value, true
	}
	if !found {
		return 0, fmt.Errorf("%s/metrics has no %s", p.url, name)
	}
	return sum, nil
}

// liveHeap is the heap in bytes after a collection.
func (p *process) liveHeap(ctx context.Context) (float64, error) {
	// The second collection takes what finalizers of the first let go.
	for range 2 {
		if _, err := p.get(ctx, "/debug/pprof/heap?gc=1"); err != nil {
			return 0, err
		}
	}
	return p.metric(ctx, "go_memstats_heap_alloc_bytes")
}

// profile writes one of the process's profiles to a file of dir.
func (p *process) profile(ctx context.Context, dir, name, path string) error {
	if dir == "" {
		return nil
	}
	body, err := p.get(ctx, "/debug/pprof/"+path)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644)
}

// usage is the processor time and resident memory of a process and all below
// it.
func (p *process) usage() (cpu time.Duration, rss int64) {
	return usageOf(p.cmd.Process.Pid)
}

// poll looks until it is satisfied; it gives up after ten minutes.
func poll(ctx context.Context, look func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	for {
		if done, err := look(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}
