package generate

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"mizzen.dev/mizzen"
)

// Objects reads the documents of a YAML text.
func Objects(text string) ([]mizzen.Object, error) {
	var out []mizzen.Object
	for i, document := range strings.Split(text, "\n---\n") {
		var content map[string]any
		if err := yaml.Unmarshal([]byte(document), &content); err != nil {
			return nil, fmt.Errorf("document %d: %w", i+1, err)
		}
		if len(content) > 0 {
			out = append(out, mizzen.Object{Unstructured: &unstructured.Unstructured{Object: content}})
		}
	}
	return out, nil
}
