package load

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"mizzen.dev/mizzen/lab/internal/shop"
)

// Run is a load that was started.
type Run struct {
	config Config
	order  []int
	client *http.Client
	start  time.Time
	// ctx ends when nothing more is to be sent; requests that are under way
	// get their answers.
	ctx  context.Context
	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	taken   int64 // requests that a connection has taken on
	sent    int64
	stopped time.Duration // after the start; 0 if nobody stopped it
	ended   time.Duration
	total   histogram
	targets []*stats
}

// Start completes a Config and begins to send. The caller has to Stop it, or
// wait for Done.
func Start(c Config) (*Run, error) {
	c, err := c.Complete()
	if err != nil {
		return nil, err
	}
	r := &Run{config: c, order: c.order(), done: make(chan struct{}), start: time.Now()}
	r.ctx, r.stop = context.WithCancel(context.Background())
	for range c.Targets {
		r.targets = append(r.targets, newStats())
	}
	r.client = &http.Client{
		Transport: &http.Transport{
			MaxIdleConnsPerHost: c.Connections, DisableKeepAlives: !*c.KeepAlive, DisableCompression: true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	var connections sync.WaitGroup
	for range c.Connections {
		connections.Go(r.connection)
	}
	go func() {
		connections.Wait()
		r.finish()
	}()
	return r, nil
}

func (r *Run) finish() {
	r.mu.Lock()
	r.ended = time.Since(r.start)
	r.mu.Unlock()
	r.stop()
	r.client.CloseIdleConnections()
	close(r.done)
}

// Done is closed when the last answer is there.
func (r *Run) Done() <-chan struct{} { return r.done }

// Stop sends no further request and waits for the answers that are due.
func (r *Run) Stop() {
	r.mu.Lock()
	if r.stopped == 0 && r.ended == 0 {
		r.stopped = time.Since(r.start)
	}
	r.mu.Unlock()
	r.stop()
	<-r.done
}

func (r *Run) connection() {
	for {
		n, due, ok := r.next()
		if !ok || !r.wait(due) {
			return
		}
		r.mu.Lock()
		r.sent++
		r.mu.Unlock()
		target := r.order[n%int64(len(r.order))]
		o := r.send(r.config.Targets[target], due)
		r.mu.Lock()
		r.total.add(o.latency)
		r.targets[target].add(o)
		r.mu.Unlock()
	}
}

// next takes on the next request and returns when it is due, after the start.
func (r *Run) next() (n int64, due time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Since(r.start)
	n, due = r.taken, now
	if r.open() {
		due = time.Duration(float64(n) / r.config.QPS * float64(time.Second))
	}
	limit, duration := r.config.Requests, time.Duration(r.config.Duration)
	if limit > 0 && n >= limit || duration > 0 && due >= duration {
		return 0, 0, false
	}
	// What is behind at the end is caught up for a while, but not for ever.
	if duration > 0 && now > duration+time.Duration(r.config.Timeout) {
		return 0, 0, false
	}
	r.taken++
	return n, due, true
}

func (r *Run) open() bool { return r.config.QPS > 0 }

// wait waits until a request is due, or returns false if the run was stopped.
func (r *Run) wait(due time.Duration) bool {
	left := due - time.Since(r.start)
	if left <= 0 {
		return r.ctx.Err() == nil
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}

// send sends one request and measures from when it was due.
func (r *Run) send(t Target, due time.Duration) outcome {
	var o outcome
	status, header, body, err := r.exchange(t, &o)
	o.at = time.Since(r.start)
	o.latency = o.at - due
	o.status = status
	if err != nil {
		o.reason = "no answer: " + shop.Class(err)
		o.detail = clip(err.Error(), maxDetail, false)
		return o
	}
	judge(&o, header, body)
	return o
}

func (r *Run) exchange(t Target, o *outcome) (int, http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.config.Timeout))
	defer cancel()
	connections := 0
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connections++ }})
	req, err := http.NewRequestWithContext(ctx, t.Method, t.URL, nil)
	if err != nil {
		return 0, nil, nil, err
	}
	req.Host = t.Host
	for name, value := range t.Headers {
		req.Header.Set(name, value)
	}
	res, err := r.client.Do(req)
	o.resent = connections > 1
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, shop.MaxBody))
	if err != nil {
		return 0, nil, nil, errors.Join(errors.New("the answer broke off"), err)
	}
	return res.StatusCode, res.Header, body, nil
}

// Report tells what happened so far.
func (r *Run) Report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	config := r.config
	report := Report{
		APIVersion: APIVersion, State: Running, Config: &config, StartedAt: r.start, OpenLoop: r.open(),
		Unsent: r.unsent(),
	}
	took := time.Since(r.start)
	if r.ended > 0 {
		took, report.State = r.ended, Done
		if r.stopped > 0 {
			report.State = Stopped
		}
	}
	report.DurationSeconds = took.Seconds()
	var failed int64
	for i, t := range config.Targets {
		failed += r.targets[i].failed
		report.Targets = append(report.Targets, r.targets[i].report(t, took.Seconds()))
	}
	report.Total = r.total.counts(failed)
	if took > 0 {
		report.RatePerSecond = float64(report.Total.Requests) / took.Seconds()
	}
	return report
}

// unsent counts the requests that were due before now, or before somebody
// stopped the run, and were not sent.
func (r *Run) unsent() int64 {
	if !r.open() {
		return 0
	}
	until := time.Since(r.start)
	if r.stopped > 0 {
		until = r.stopped
	}
	if d := time.Duration(r.config.Duration); d > 0 {
		until = min(until, d)
	}
	due := int64(math.Ceil(until.Seconds() * r.config.QPS))
	if r.config.Requests > 0 {
		due = min(due, r.config.Requests)
	}
	return max(due-r.sent, 0)
}

// Histogram is the latency of a target's requests, as Prometheus has it.
type Histogram struct {
	Count      uint64
	SumSeconds float64
	// Buckets count, by their upper bounds in seconds, requests up to it.
	Buckets map[float64]uint64
}

// Histogram returns that of the target with an index in the Config.
func (r *Run) Histogram(target int) Histogram {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := &r.targets[target].latency
	out := Histogram{Count: h.count, SumSeconds: h.sum.Seconds(), Buckets: map[float64]uint64{}}
	for bound := time.Millisecond; bound <= time.Minute; bound *= 2 {
		out.Buckets[bound.Seconds()] = h.upTo(bound)
	}
	return out
}
