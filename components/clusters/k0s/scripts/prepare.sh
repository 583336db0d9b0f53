#!/bin/bash
# prepare.sh, on a host: the system made ready, k0s's binary and the lab's images in place. Nothing is started.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=k0s.sh
. "$(dirname "$0")/k0s.sh"
# shellcheck source-path=SCRIPTDIR source=../../scripts/names.sh
. "$(dirname "$0")/names.sh"

prepare_os
# k0s is static: it knows localhost from /etc/hosts alone.
grep -qE '^127\.0\.0\.1[[:space:]]+(.*[[:space:]])?localhost([[:space:]]|$)' /etc/hosts || add_name 127.0.0.1 localhost
put_staged k0s "$K0S"
step_done prepare
