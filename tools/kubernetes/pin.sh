#!/usr/bin/env bash
# pin.sh VERSION...: writes <minor>.mod and <minor>.sum for releases of Kubernetes, such as 1.36.3. Needs the Go module proxy.
# The module k8s.io/kubernetes names its staging modules by paths of its repository; each is replaced by its own release.
set -euo pipefail
cd "$(dirname "$0")"
export GOTOOLCHAIN=local GOSUMDB=off GOWORK=off GOFLAGS=-modcacherw

for version in "$@"; do
  [[ $version =~ ^1\.([0-9]+)\.([0-9]+)$ ]] || { echo "pin.sh: a release such as 1.36.3, not $version" >&2 && exit 2; }
  minor=1.${BASH_REMATCH[1]} staging=v0.${BASH_REMATCH[1]}.${BASH_REMATCH[2]}
  # From outside of a module, whose own requirements play no part.
  of=$(cd / && go mod download -json "k8s.io/kubernetes@v$version" | awk -F'"' '$2 == "GoMod" { print $4 }')
  {
    printf 'module litelab/tools/kubernetes\n\ngo 1.26\n\n'
    grep '^godebug ' "$of"
    printf '\nrequire (\n\tk8s.io/component-base %s\n\tk8s.io/kubectl %s\n\tk8s.io/kubernetes v%s\n)\n' "$staging" "$staging" "$version"
    awk -v staging="$staging" '$2 == "=>" && $3 ~ "^[.]/staging/" { printf "\nreplace %s => %s %s\n", $1, $1, staging }' "$of"
  } >"$minor.mod"
  : >"$minor.sum"
  go mod tidy -modfile="$minor.mod"
done
