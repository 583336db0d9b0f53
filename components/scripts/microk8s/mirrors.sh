#!/bin/bash
# mirrors.sh, on a host: MicroK8s' containerd finds the site's mirrors (/etc/containerd/certs.d), by links in the folder where it
# looks. What the vendor has under the same names is kept beside it, and comes back when the site has no such mirror any more.
set -euo pipefail
CERTS=/var/snap/microk8s/current/args/certs.d
KEPT=$CERTS.vendor
SITE=/etc/containerd/certs.d
LIST=/var/lib/litelab/site/list

[ -d "${CERTS%/*}" ] || exit 0
mkdir -p "$CERTS"
for link in "$CERTS"/*; do
  # What is no link says nothing.
  [ "$(readlink "$link")" = "$SITE/${link##*/}" ] || continue
  rm "$link"
  [ ! -e "$KEPT/${link##*/}" ] || mv "$KEPT/${link##*/}" "$CERTS/"
done
rmdir "$KEPT" 2>/dev/null || true
[ -r "$LIST" ] || exit 0
sed -n "s|^${SITE#/}/\\(.*\\)/hosts.toml$|\\1|p" "$LIST" | while IFS= read -r name; do
  if [ -e "$CERTS/$name" ]; then
    mkdir -p "$KEPT"
    mv "$CERTS/$name" "$KEPT/"
  fi
  ln -s "$SITE/$name" "$CERTS/$name"
done
