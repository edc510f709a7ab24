// Package command is the command line of bin/shop: `shop` serves, `shop load`
// puts load on others, `shop spans` plays Jaeger. Arguments and the environment come in, an exit code
// goes out.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"mizzen.dev/mizzen/lab/internal/shop/load"
	"mizzen.dev/mizzen/lab/internal/shop/loadapi"
	"mizzen.dev/mizzen/lab/internal/shop/server"
	"mizzen.dev/mizzen/lab/internal/shop/settings"
)

const (
	exitNo     = 1
	exitFailed = 2
)

const usage = `usage: shop [serve]            serve HTTP and gRPC
       shop load               serve the control API of a load: POST /start, POST /stop, GET /report, GET /metrics
       shop load FLAGS URL...  send requests, print a report; exit code 1 if one failed (see shop load -h)
       shop spans              take spans by OTLP on :4317, show them on :16686 as Jaeger does: /api/services, /api/traces?service=NAME

Environment of shop serve:
` + settings.Help + `
Environment of shop load:
` + load.EnvHelp

// errNo says that the answer, which is printed already, is no.
var errNo = errors.New("no")

// Run runs the command line and returns its exit code: 0 done, 1 a request
// failed, 2 could not run.
func Run(args []string, getenv func(string) string, stdout, stderr io.Writer) int {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := dispatch(ctx, args, getenv, stdout, stderr)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errNo):
		return exitNo
	}
	fmt.Fprintln(stderr, "shop:", err)
	return exitFailed
}

func dispatch(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	verb := "serve"
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	switch {
	case verb == "load" && len(args) > 0:
		return once(ctx, args, stdout, stderr)
	case len(args) > 0:
		return fmt.Errorf("%q: unexpected argument; see shop help", args[0])
	case verb == "serve":
		return serve(ctx, getenv)
	case verb == "load":
		return control(ctx, getenv)
	case verb == "spans":
		return collect(ctx)
	case verb == "help", verb == "-h", verb == "--help":
		_, err := fmt.Fprint(stdout, usage)
		return err
	}
	return fmt.Errorf("%q: want serve, load, spans or help", verb)
}

func serve(ctx context.Context, getenv func(string) string) error {
	s, err := settings.Parse(getenv)
	if err != nil {
		return err
	}
	srv, err := server.New(s)
	if err != nil {
		return err
	}
	web, err := listen(s.Port)
	if err != nil {
		return err
	}
	defer web.Close()
	var rpc net.Listener
	if s.GRPCPort != 0 {
		if rpc, err = listen(s.GRPCPort); err != nil {
			return err
		}
		defer rpc.Close()
	}
	return srv.Run(ctx, web, rpc)
}

func listen(port int) (net.Listener, error) { return net.Listen("tcp", ":"+strconv.Itoa(port)) }

// control serves the API of a load until ctx is done.
func control(ctx context.Context, getenv func(string) string) error {
	byDefault, err := load.FromEnv(getenv)
	if err != nil {
		return err
	}
	s, err := settings.Parse(func(name string) string {
		if name == "PORT" {
			return getenv(name)
		}
		return ""
	})
	if err != nil {
		return err
	}
	l, err := listen(s.Port)
	if err != nil {
		return err
	}
	api := loadapi.New(byDefault)
	defer api.Close()
	h := api.Server()
	end := context.AfterFunc(ctx, func() { _ = h.Close() }) // ends Serve
	defer end()
	log.Printf("load: control API on %s", l.Addr())
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
