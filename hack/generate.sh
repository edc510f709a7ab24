#!/bin/sh
# generate.sh: deepcopy functions and CRDs from api/v1alpha1. With -check it
# fails if the committed files differ from what it would write.
set -eu
cd "$(dirname "$0")/.."
CONTROLLER_GEN=sigs.k8s.io/controller-tools/cmd/controller-gen@v0.21.0

go run "$CONTROLLER_GEN" object paths=./api/... crd:maxDescLen=300 output:crd:dir=api/crds

if [ "${1:-}" = -check ]; then
	changed=$(git status --porcelain -- api)
	if [ -n "$changed" ]; then
		echo "generated files are not fresh; run 'make generate' and commit:" >&2
		echo "$changed" >&2
		exit 1
	fi
fi
