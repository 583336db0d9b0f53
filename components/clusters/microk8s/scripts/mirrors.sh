#!/bin/bash
# mirrors.sh, on a host: MicroK8s' containerd finds the site's mirrors (/etc/containerd/certs.d), by links in the folder where it
# looks, and has their logins, at the end of its template. What the vendor has under the same names is kept beside it, and comes
# back when the site has no such mirror any more.
# Source of the template: canonical/microk8s (microk8s-resources/wrappers/run-containerd-with-args).
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../../scripts/logins.sh
. "$(dirname "${BASH_SOURCE[0]}")/logins.sh"
ARGS=/var/snap/microk8s/current/args
CERTS=$ARGS/certs.d
KEPT=$CERTS.vendor
SITE=/etc/containerd/certs.d
LIST=/var/lib/litelab/site/list
TEMPLATE=$ARGS/containerd-template.toml
UNIT=snap.microk8s.daemon-containerd
# Before the logins, with the permissions that the template had without them.
MARK='# litelab: logins of mirrors; before them, mode'

link_mirrors() {
  local link name
  mkdir -p "$CERTS"
  for link in "$CERTS"/*; do
    # What is no link says nothing.
    [ "$(readlink "$link")" = "$SITE/${link##*/}" ] || continue
    rm "$link"
    [ ! -e "$KEPT/${link##*/}" ] || mv "$KEPT/${link##*/}" "$CERTS/"
  done
  rmdir "$KEPT" 2>/dev/null || true
  [ -r "$LIST" ] || return 0
  sed -n "s|^${SITE#/}/\\(.*\\)/hosts.toml$|\\1|p" "$LIST" | while IFS= read -r name; do
    if [ -e "$CERTS/$name" ]; then
      mkdir -p "$KEPT"
      mv "$CERTS/$name" "$KEPT/"
    fi
    ln -s "$SITE/$name" "$CERTS/$name"
  done
}

# put_logins: its containerd reads the template at a start alone.
put_logins() {
  local mode plugin=io.containerd.grpc.v1.cri
  [ -f "$TEMPLATE" ] || return 0
  # containerd 2's own form.
  ! grep -q '^version *= *3' "$TEMPLATE" || plugin=io.containerd.cri.v1.images
  mode=$(sed -n "s|^$MARK ||p" "$TEMPLATE")
  mode=${mode:-$(stat -c %a "$TEMPLATE")}
  (
    umask 077
    sed "/^$MARK /,\$d" "$TEMPLATE" >"$TEMPLATE.new"
    if [ -r "$MIRROR_LOGINS" ]; then
      printf '%s %s\n' "$MARK" "$mode" >>"$TEMPLATE.new"
      mirror_logins "$plugin" >>"$TEMPLATE.new"
      # What is made of it at each start keeps its permissions.
      : >>"$ARGS/containerd.toml"
      chmod 600 "$ARGS/containerd.toml"
    else
      chmod "$mode" "$TEMPLATE.new"
    fi
  )
  if cmp -s "$TEMPLATE" "$TEMPLATE.new"; then
    rm "$TEMPLATE.new"
    return 0
  fi
  chown --reference="$TEMPLATE" "$TEMPLATE.new"
  mv "$TEMPLATE.new" "$TEMPLATE"
  timeout 100 systemctl try-restart "$UNIT" || echo "error: host $(hostname): $UNIT did not start again with the logins of the mirrors; 'journalctl -u $UNIT' on the host says why." >&2
}

[ -d "$ARGS" ] || exit 0
link_mirrors
put_logins
