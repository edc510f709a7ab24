package gitserver

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// retries are the pauses before a failed delivery is tried again. GitHub itself
// tries once; a lab whose receiver is just restarting should not lose a push.
var retries = []time.Duration{250 * time.Millisecond, time.Second, 4 * time.Second}

// patience bounds one attempt, as GitHub's does.
const patience = 10 * time.Second

// deliverer sends events to hooks in the background.
type deliverer struct {
	log    *slog.Logger
	client *http.Client
	ctx    context.Context
	cancel context.CancelFunc
	wait   sync.WaitGroup
}

func newDeliverer(log *slog.Logger) *deliverer {
	ctx, cancel := context.WithCancel(context.Background())
	return &deliverer{log: log, client: &http.Client{Timeout: patience}, ctx: ctx, cancel: cancel}
}

func (d *deliverer) close() {
	d.cancel()
	d.wait.Wait()
}

// deliver sends event to h at once, and again a few times if that fails.
func (d *deliverer) deliver(h Hook, event []byte) {
	id := deliveryID()
	d.wait.Go(func() {
		for attempt := 0; ; attempt++ {
			err := d.send(h, event, id)
			if err == nil {
				d.log.Info("push announced", "url", h.URL, "delivery", id)
				return
			}
			d.log.Warn("push not announced", "url", h.URL, "delivery", id, "attempt", attempt+1, "err", err)
			if attempt == len(retries) {
				return
			}
			select {
			case <-d.ctx.Done():
				return
			case <-time.After(retries[attempt]):
			}
		}
	})
}

func (d *deliverer) send(h Hook, event []byte, id string) error {
	r, err := http.NewRequestWithContext(d.ctx, http.MethodPost, h.URL, bytes.NewReader(event))
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "GitHub-Hookshot/lab")
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-GitHub-Delivery", id)
	if h.Secret != "" {
		r.Header.Set("X-Hub-Signature-256", Sign(h.Secret, event))
	}
	response, err := d.client.Do(r)
	if err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20)); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("webhook: receiver answered %s", response.Status)
	}
	return nil
}

// Sign returns the value of X-Hub-Signature-256 for body, as defined in
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries.
func Sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// deliveryID is a random UUID (RFC 9562, version 4).
func deliveryID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
