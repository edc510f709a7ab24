package command

import (
	"context"
	"errors"
	"log"
	"net/http"
	"time"

	"google.golang.org/grpc"

	"mizzen.dev/mizzen/lab/internal/shop/spans"
)

// The ports of Jaeger.
const (
	otlpPort  = 4317
	queryPort = 16686
)

// collect takes spans, and answers who asks for them, until ctx is done.
func collect(ctx context.Context) error {
	in, err := listen(otlpPort)
	if err != nil {
		return err
	}
	out, err := listen(queryPort)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	store, g := spans.New(), grpc.NewServer()
	store.Register(g)
	h := &http.Server{Handler: store.Handler(), ReadHeaderTimeout: 10 * time.Second}
	end := context.AfterFunc(ctx, func() {
		g.Stop()
		_ = h.Close() // ends Serve
	})
	defer end()
	log.Printf("spans: OTLP on %s, queries on %s", in.Addr(), out.Addr())
	failed := make(chan error, 2)
	go func() { failed <- g.Serve(in) }()
	go func() { failed <- h.Serve(out) }()
	if err := <-failed; ctx.Err() == nil {
		return err
	}
	return nil
}
