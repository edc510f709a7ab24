package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"go.etcd.io/etcd/server/v3/embed"
)

// etcdURL is where etcd listens: a Unix socket in the working directory.
// etcd asks its clients for nothing, so a TCP port would show every Secret to
// every user of the host; a relative path fits the 108 bytes of a socket's
// name whatever the state directory is called; etcd wants it to end in a port.
const (
	etcdURL     = "unix://etcd:0"
	etcdPeerURL = "unix://etcd-peer:0"
)

// startEtcd starts a single member whose data is kept below dir.
func startEtcd(ctx context.Context, dir string) (*embed.Etcd, error) {
	client, err := url.Parse(etcdURL)
	if err != nil {
		return nil, err
	}
	peer, err := url.Parse(etcdPeerURL)
	if err != nil {
		return nil, err
	}
	c := embed.NewConfig()
	c.Dir = dir
	c.LogLevel = "error"
	// The lab survives the death of its processes, not of the machine.
	c.UnsafeNoFsync = true
	c.QuotaBackendBytes = 8 << 30
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	// A single member elects itself after one election timeout.
	c.TickMs, c.ElectionMs = 20, 200
	server, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("etcd: %w", err)
	}
	select {
	case <-server.Server.ReadyNotify():
		return server, nil
	case err := <-server.Err():
		return nil, fmt.Errorf("etcd: %w", err)
	case <-server.Server.StopNotify():
		return nil, errors.New("etcd stopped while starting")
	case <-ctx.Done():
		return nil, fmt.Errorf("etcd: %w", ctx.Err())
	}
}
