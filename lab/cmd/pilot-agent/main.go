// Command pilot-agent is Istio's agent in a sidecar or gateway, unchanged:
// istio-iptables, Envoy's bootstrap, certificates and the xDS proxy. In comes
// what injection wrote into the pod, out goes a running Envoy. Istio's own main
// also takes a memory limit from a cgroup, of which the lab's pods have none.
package main

import (
	"os"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/cmd/pilot-agent/app"
	istioagent "istio.io/istio/pkg/istio-agent"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/security"
	"istio.io/istio/security/pkg/nodeagent/sds"
)

func main() {
	log.EnableKlogWithCobra()
	secrets := func(o *security.Options, s security.SecretManager, p *meshconfig.PrivateKeyProvider) istioagent.SDSService {
		return sds.NewServer(o, s, p)
	}
	if err := app.NewRootCommand(secrets).Execute(); err != nil {
		log.Error(err)
		os.Exit(1)
	}
}
