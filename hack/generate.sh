#!/bin/sh
# generate.sh: write what is generated: deepcopy functions, CRDs, and the
# reference in docs/. With -check it fails if that changed anything.
set -eu
cd "$(dirname "$0")/.."
CONTROLLER_GEN=sigs.k8s.io/controller-tools/cmd/controller-gen@v0.21.0

sums() { find api docs/reference -type f | LC_ALL=C sort | xargs -d '\n' sha256sum; }
before=$(sums)
go run "$CONTROLLER_GEN" object paths=./api/... crd:maxDescLen=300 output:crd:dir=api/crds
go run ./hack/reference

if [ "${1:-}" = -check ] && [ "$before" != "$(sums)" ]; then
	echo "generated files were not fresh; they are now: look at 'git diff api docs/reference' and commit it" >&2
	exit 1
fi
