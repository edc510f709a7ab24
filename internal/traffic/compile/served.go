package compile

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"

	"istio.io/istio/pkg/config/schema/gvk"
)

// gatewayVersions are those in which istiod reads kinds of the Gateway API.
var gatewayVersions = map[string]string{
	gvk.GatewayClass.Kind: gvk.GatewayClass.Version, gvk.KubernetesGateway.Kind: gvk.KubernetesGateway.Version,
	gvk.ListenerSet.Kind: gvk.ListenerSet.Version, gvk.HTTPRoute.Kind: gvk.HTTPRoute.Version, gvk.GRPCRoute.Kind: gvk.GRPCRoute.Version,
	gvk.TCPRoute.Kind: gvk.TCPRoute.Version, gvk.TLSRoute.Kind: gvk.TLSRoute.Version,
	gvk.ReferenceGrant.Kind: gvk.ReferenceGrant.Version, gvk.BackendTLSPolicy.Kind: gvk.BackendTLSPolicy.Version,
}

// served returns the version of a kind in which istiod gets it. The API server
// changes nothing else: conversion in the Gateway API's definitions has the
// strategy None.
func served(kind schema.GroupVersionKind) schema.GroupVersionKind {
	if version := gatewayVersions[kind.Kind]; version != "" && kind.Group == gatewayapi.GroupName {
		kind.Version = version
	}
	return kind
}

// setDefaults fills in what the API server would, as far as istiod's code takes
// it for granted: a match of an HTTPRoute without a path takes every path.
func setDefaults(o runtime.Object) {
	route, ok := o.(*gatewayapi.HTTPRoute)
	if !ok {
		return
	}
	for _, rule := range route.Spec.Rules {
		for i := range rule.Matches {
			if rule.Matches[i].Path == nil {
				prefix, root := gatewayapi.PathMatchPathPrefix, "/"
				rule.Matches[i].Path = &gatewayapi.HTTPPathMatch{Type: &prefix, Value: &root}
			}
		}
	}
}
