// Package envoy runs a stock Envoy as a process that takes its configuration
// from an ads.Server, with the runtime flags that Istio's agent gives it.
package envoy

import (
	"context"
	"encoding/json"
	"errors"
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

	"mizzen.dev/mizzen/test/oracle/internal/ads"
)

// bootstrap takes the port of the ADS server thrice. The first layer of runtime
// flags is that of istio.io/istio/pkg/bootstrap: one of them changes what
// becomes of a path with a fragment. The second keeps hosts that fail on
// purpose from being ejected, which would change later answers. The extension is
// for the listeners inside of waypoints.
const bootstrap = `
node: {id: oracle, cluster: oracle}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
dynamic_resources:
  ads_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: xds-grpc}}]}
  cds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
  lds_config: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
bootstrap_extensions:
- name: envoy.bootstrap.internal_listener
  typed_config: {"@type": type.googleapis.com/envoy.extensions.bootstrap.internal_listener.v3.InternalListener}
layered_runtime:
  layers:
  - name: istio
    static_layer:
      re2.max_program_size.error_level: "32768"
      envoy.reloadable_features.http_reject_path_with_fragment: false
      envoy.reloadable_features.fixed_heap_use_allocated: true
      envoy.reloadable_features.coalesce_lb_rebuilds_on_batch_update: false
  - name: oracle
    static_layer:
      outlier_detection.enforcing_consecutive_5xx: 0
      outlier_detection.enforcing_consecutive_gateway_failure: 0
      outlier_detection.enforcing_consecutive_local_origin_failure: 0
      outlier_detection.enforcing_success_rate: 0
      outlier_detection.enforcing_failure_percentage: 0
static_resources:
  clusters:
`

// cluster is how Envoy reaches the ADS server, by name and port.
const cluster = `  - name: %s
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: xds
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}]}]
`

// pollEvery is how often a starting Envoy is asked whether it is ready.
const pollEvery = 2 * time.Millisecond

// Envoy is a running process.
type Envoy struct {
	command *exec.Cmd
	ended   chan struct{} // closed once the process has ended
	admin   string
	log     string
	ads     *ads.Server
}

// Start runs binary with its files in dir and returns when it has a place for
// its configuration from server. The process ends with Stop, and with the
// calling process however that ends.
func Start(ctx context.Context, binary, dir string, server *ads.Server) (*Envoy, error) {
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("no Envoy to compare with: %w; run `make lab`", err)
	}
	_, port, err := net.SplitHostPort(server.Address)
	if err != nil {
		return nil, fmt.Errorf("address of the ADS server: %w", err)
	}
	config := filepath.Join(dir, "bootstrap.yaml")
	// Both are names that istiod's output refers to.
	text := bootstrap + fmt.Sprintf(cluster, "xds-grpc", port) + fmt.Sprintf(cluster, "sds-grpc", port)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, fmt.Errorf("envoy: %w", err)
	}
	e := &Envoy{ended: make(chan struct{}), log: filepath.Join(dir, "envoy.log"), ads: server}
	address := filepath.Join(dir, "admin")
	if err := e.run(binary, config, address); err != nil {
		return nil, err
	}
	if err := e.poll(ctx, func() (bool, error) {
		b, err := os.ReadFile(address)
		e.admin = strings.TrimSpace(string(b))
		return err == nil && e.admin != "", nil
	}); err != nil {
		e.Stop()
		return nil, fmt.Errorf("start envoy: %w", err)
	}
	return e, nil
}

func (e *Envoy) run(binary, config, address string) error {
	log, err := os.Create(e.log)
	if err != nil {
		return fmt.Errorf("envoy: %w", err)
	}
	defer log.Close()
	e.command = exec.Command(binary, "-c", config, "--admin-address-path", address,
		"--concurrency", "1", "--disable-hot-restart", "-l", "warning")
	e.command.Stdout, e.command.Stderr = log, log
	e.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.command.Start(); err != nil {
		return fmt.Errorf("start envoy: %w", err)
	}
	go func() {
		_ = e.command.Wait() // killed by Stop, or its log says why it ended
		close(e.ended)
	}()
	return nil
}

// Stop ends the process and waits for that.
func (e *Envoy) Stop() {
	_ = e.command.Process.Kill() // it may have ended by itself
	<-e.ended
}

// poll calls done until it is true, the process ends, or ctx does.
func (e *Envoy) poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-e.ended:
			text, _ := os.ReadFile(e.log)
			return fmt.Errorf("envoy ended: %s", text)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Ready waits until Envoy has all of its configuration and takes connections,
// and returns the address of its listener of that name. It fails if Envoy
// refuses any resource, or asks for one that is not there.
func (e *Envoy) Ready(ctx context.Context, listener string) (string, error) {
	if err := e.ads.Wait(ctx); err != nil {
		return "", err
	}
	var address string
	err := e.poll(ctx, func() (bool, error) {
		if !e.ads.Settled() {
			return false, nil
		}
		if refused := e.ads.Refused(); len(refused) > 0 {
			return false, fmt.Errorf("envoy refuses its configuration:\n%s", strings.Join(refused, "\n"))
		}
		for name, want := range map[string]int{"listener_manager.total_listeners_warming": 0, "listener_manager.workers_started": 1} {
			if got, err := e.gauge(name); err != nil || got != want {
				return false, err
			}
		}
		var err error
		address, err = e.address(listener)
		return address != "", err
	})
	return address, err
}

// gauge returns the value of one of Envoy's statistics; -1 if it is not there
// yet.
func (e *Envoy) gauge(name string) (int, error) {
	body, err := e.get("/stats?filter=^" + name + "$")
	if err != nil {
		return 0, err
	}
	_, value, ok := strings.Cut(strings.TrimSpace(string(body)), ": ")
	if !ok {
		return -1, nil
	}
	return strconv.Atoi(value)
}

func (e *Envoy) address(listener string) (string, error) {
	body, err := e.get("/listeners?format=json")
	if err != nil {
		return "", err
	}
	var list struct {
		Statuses []struct {
			Name    string `json:"name"`
			Address struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return "", fmt.Errorf("envoy's listeners: %w", err)
	}
	for _, l := range list.Statuses {
		if l.Name == listener && l.Address.Socket.Port != 0 {
			return net.JoinHostPort(l.Address.Socket.Address, strconv.Itoa(l.Address.Socket.Port)), nil
		}
	}
	return "", nil
}

func (e *Envoy) get(path string) ([]byte, error) {
	r, err := http.Get("http://" + e.admin + path)
	if err != nil {
		return nil, fmt.Errorf("envoy's admin port: %w", err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = errors.New(r.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("envoy's admin port: %s: %w", path, err)
	}
	return body, nil
}
