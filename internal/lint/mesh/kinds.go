package mesh

import "mizzen.dev/mizzen"

// The parts of the kinds that the checks read, in the words of their APIs.

// thing is an object of interest.
type thing struct {
	object mizzen.Object
	judged bool
}

func (t thing) namespace() string { return t.object.GetNamespace() }
func (t thing) name() string      { return t.object.GetName() }

type service struct {
	thing
	host string
	spec struct {
		Selector map[string]string `json:"selector"`
		Type     string            `json:"type"`
		Ports    []servicePort     `json:"ports"`
	}
}

type servicePort struct {
	Name        string `json:"name"`
	AppProtocol string `json:"appProtocol"`
	Port        int    `json:"port"`
	// TargetPort is a number or the name of a container's port.
	TargetPort any `json:"targetPort"`
}

// target returns the number of the port at the workload, 0 if only its name is
// known.
func (p servicePort) target() int {
	switch t := p.TargetPort.(type) {
	case nil:
		return p.Port
	case float64:
		return int(t)
	}
	return 0
}

type workload struct {
	thing
	labels map[string]string
}

// outside tells that a workload's pods get no sidecar.
func (w workload) outside() bool { return w.labels["sidecar.istio.io/inject"] == "false" }

type serviceEntry struct {
	thing
	spec struct {
		Hosts []string `json:"hosts"`
	}
}

type virtualService struct {
	thing
	spec struct {
		Hosts    []string    `json:"hosts"`
		Gateways []string    `json:"gateways"`
		HTTP     []httpRoute `json:"http"`
		TLS      []route     `json:"tls"`
		TCP      []route     `json:"tcp"`
	}
}

type route struct {
	Route []weighted `json:"route"`
}

type httpRoute struct {
	route
	Match    []map[string]any `json:"match"`
	Timeout  string           `json:"timeout"`
	Delegate *struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"delegate"`
	Retries *struct {
		Attempts      int    `json:"attempts"`
		PerTryTimeout string `json:"perTryTimeout"`
	} `json:"retries"`
}

type weighted struct {
	Destination struct {
		Host   string `json:"host"`
		Subset string `json:"subset"`
	} `json:"destination"`
	Weight int `json:"weight"`
}

type destinationRule struct {
	thing
	spec struct {
		Host             string    `json:"host"`
		ExportTo         []string  `json:"exportTo"`
		WorkloadSelector *selector `json:"workloadSelector"`
		TrafficPolicy    *struct {
			TLS               *tls `json:"tls"`
			PortLevelSettings []struct {
				Port struct {
					Number int `json:"number"`
				} `json:"port"`
				TLS *tls `json:"tls"`
			} `json:"portLevelSettings"`
		} `json:"trafficPolicy"`
		Subsets []struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
		} `json:"subsets"`
	}
}

type tls struct {
	Mode string `json:"mode"`
}

type selector struct {
	MatchLabels map[string]string `json:"matchLabels"`
	Labels      map[string]string `json:"labels"`
}

type gateway struct {
	thing
	spec struct {
		Servers []struct {
			Port struct {
				Number   int    `json:"number"`
				Protocol string `json:"protocol"`
			} `json:"port"`
			TLS map[string]any `json:"tls"`
		} `json:"servers"`
	}
}

type sidecar struct {
	thing
	spec struct {
		WorkloadSelector *selector `json:"workloadSelector"`
		Egress           []struct {
			Hosts []string `json:"hosts"`
		} `json:"egress"`
	}
}

type peerAuthentication struct {
	thing
	spec struct {
		Selector      *selector      `json:"selector"`
		MTLS          *tls           `json:"mtls"`
		PortLevelMTLS map[string]tls `json:"portLevelMtls"`
	}
}

type authorizationPolicy struct {
	thing
	spec struct {
		Selector   *selector        `json:"selector"`
		TargetRef  map[string]any   `json:"targetRef"`
		TargetRefs []map[string]any `json:"targetRefs"`
		Action     string           `json:"action"`
		Rules      []policyRule     `json:"rules"`
	}
}

type policyRule struct {
	From []struct {
		Source map[string]any `json:"source"`
	} `json:"from"`
	To []struct {
		Operation map[string]any `json:"operation"`
	} `json:"to"`
	When []struct {
		Key string `json:"key"`
	} `json:"when"`
}
