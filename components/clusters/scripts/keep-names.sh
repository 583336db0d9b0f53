#!/bin/bash
# keep-names.sh, on a host, by systemd: the lab's names are in /etc/hosts again.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=names.sh
. "$(dirname "$0")/names.sh"
keep_names
