package demo

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"fmt"
)

// The definitions of the Gateway API's standard channel, as the module
// sigs.k8s.io/gateway-api has them: it embeds them nowhere, and more than a
// megabyte of them compresses to a fraction. A test compares the two, and
// writes the file anew with -update.
//
//go:embed gateway-api.zip
var gatewayAPI []byte

// gatewayAPITo is where they go: the path of the Application gateway-api.
const gatewayAPITo = "gateway-api/crds"

func writeGatewayAPI(to string) error {
	files, err := zip.NewReader(bytes.NewReader(gatewayAPI), int64(len(gatewayAPI)))
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return copyTree(files, ".", to)
}
