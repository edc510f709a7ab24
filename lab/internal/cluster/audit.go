package cluster

// auditPolicy records who asked for what and how it ended, never a body: a
// test counts requests by identity, and no Secret reaches the disk this way.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  nonResourceURLs: ["/healthz*", "/livez*", "/readyz*"]
- level: Metadata
`
