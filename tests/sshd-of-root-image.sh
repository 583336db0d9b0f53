#!/usr/bin/env bash
# The ssh server of the hosts' root image, run on this machine without being installed: for tests, on loopback.
# It wants a user 'sshd' and /run/sshd; both exist in a mount namespace of its own alone. LITELAB_SSHD_BIND, FROM:TO, is a folder that
# its logins see elsewhere, below /run say.
set -euo pipefail
root=$(readlink -f "${LITELAB_CACHE:?}/rootfs/current")
passwd=$(mktemp)
trap 'rm -f "$passwd"' EXIT
{
  cat /etc/passwd
  grep -q '^sshd:' /etc/passwd || echo 'sshd:x:65534:65534::/run/sshd:/usr/sbin/nologin'
} >"$passwd"
libraries=$(echo "$root"/usr/lib/*-linux-gnu)
# shellcheck disable=SC2016 # the inner shell expands it
exec unshare -m sh -ec '
  mount --make-rprivate /
  mount --bind "$1" /etc/passwd
  mount -t tmpfs tmpfs /run
  mkdir -m 755 /run/sshd
  bind=${LITELAB_SSHD_BIND:-}
  if [ -n "$bind" ]; then mkdir -p "${bind#*:}" && mount --bind "${bind%%:*}" "${bind#*:}"; fi
  server=$2 libraries=$3
  shift 3
  # It starts itself anew by its own path.
  exec env LD_LIBRARY_PATH="$libraries" "$server" "$@"' sh "$passwd" "$root/usr/sbin/sshd" "$libraries" "$@"
