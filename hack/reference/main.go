// Command reference writes docs/reference from what the reference is about:
// the custom resources from their CRDs, reasons and codes from the comments on
// their constants and from codes.yaml, the command line from its own help. Run
// it in the root of the checkout.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
)

const notice = "<!-- Written by hack/reference; 'make generate' writes it anew. -->\n\n"

var pages = []struct {
	file  string
	write func() (string, error)
}{
	{"api.md", api},
	{"findings.md", findings},
	{"effects.md", effects},
	{"reasons.md", reasons},
	{"cli.md", commandLine},
}

func main() {
	for _, p := range pages {
		text, err := p.write()
		if err == nil {
			err = os.WriteFile(filepath.Join("docs", "reference", p.file), []byte(notice+text), 0o644)
		}
		if err != nil {
			log.Fatal(fmt.Errorf("%s: %w", p.file, err))
		}
	}
}
