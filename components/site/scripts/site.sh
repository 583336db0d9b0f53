#!/usr/bin/env bash
# site.sh create|delete HOST, on the operator's machine: gives a host the proxy, authority and mirrors of the place where the
# lab stands, and takes them away. Standard input of create: base64 of a gzipped tar for the host's /. It may hold logins.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../clusters/scripts/operator.sh
. "$(dirname "${BASH_SOURCE[0]}")/operator.sh"
HOST=${2:?usage: site.sh create|delete HOST}
# It is no part of a distribution, which is what /opt/litelab has.
ON_HOST=/var/lib/litelab/site

create() {
  base64 -d | on "$HOST" "umask 077 && mkdir -p $ON_HOST && cat >$ON_HOST/files.tar.gz" ||
    die "$HOST" "copying the site's files ended early. 'make ssh STACK=$STACK HOST=$HOST CMD=\"df -h /\"' shows whether its disk is full; run the same command again to go on."
  bounded_on 300 "$HOST" 'bash -s -- create' <"$here/apply.sh"
}

delete() {
  ! is_gone "$HOST" || return 0
  bounded_on 300 "$HOST" 'bash -s -- delete' <"$here/apply.sh" ||
    die "$HOST" "the site's files could not be taken off it. If the host is gone for good, add GONE=$HOST ('make destroy STACK=$STACK GONE=$HOST'); else run the same command again when it answers."
}

case ${1:-} in
create | delete) "$1" ;;
*) die "$HOST" "usage: site.sh create|delete HOST" ;;
esac
