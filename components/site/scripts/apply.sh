#!/bin/bash
# apply.sh create|delete, on a host: puts the site's files in place of those that it put there before, and lets what runs see them.
set -euo pipefail
BASE=/var/lib/litelab/site
CA=/etc/litelab/site-ca.crt
had_ca=false

forget() {
  [ ! -f "$CA" ] || had_ca=true
  [ ! -f "$BASE/list" ] || while IFS= read -r path; do rm -f "/$path"; done <"$BASE/list"
  # What else is in a folder by now keeps it.
  [ ! -f "$BASE/folders" ] || sort -r "$BASE/folders" | xargs -r -d '\n' rmdir 2>/dev/null || true
  rm -f "$BASE/list" /usr/local/share/ca-certificates/litelab-site.crt /etc/pki/ca-trust/source/anchors/litelab-site.crt
}

# missing_folders: of the paths on standard input, the folders that are not there yet.
missing_folders() {
  local path
  while IFS= read -r path; do
    path=/$(dirname "$path")
    while [ ! -d "$path" ]; do
      printf '%s\n' "$path"
      path=$(dirname "$path")
    done
  done
}

# Each system has its own list of whom to trust.
trust() {
  [ -f "$CA" ] || [ "$had_ca" = true ] || return 0
  if command -v update-ca-certificates >/dev/null; then
    [ ! -f "$CA" ] || install -D -m 644 "$CA" /usr/local/share/ca-certificates/litelab-site.crt
    # Only then it removes what is no longer there.
    timeout 100 update-ca-certificates --fresh >/dev/null
  elif command -v update-ca-trust >/dev/null; then
    [ ! -f "$CA" ] || install -D -m 644 "$CA" /etc/pki/ca-trust/source/anchors/litelab-site.crt
    timeout 100 update-ca-trust
  else
    echo "error: host $(hostname): it has neither update-ca-certificates nor update-ca-trust, so no program would trust the authority. Install ca-certificates on it; then run the same command again." >&2
    exit 1
  fi
}

# A distribution whose runtime looks for mirrors or their logins elsewhere brings a script that leads it here.
lead() {
  local script
  for script in /opt/litelab/*/scripts/mirrors.sh; do [ ! -x "$script" ] || "$script"; done
}

# Proxy and authorities are read at the start of a program alone. Pods outlive the restart.
tell() {
  local unit
  systemctl daemon-reload
  for unit in containerd k3s k3s-agent k0scontroller k0sworker crio snap.microk8s.daemon-containerd; do timeout 100 systemctl try-restart "$unit" 2>/dev/null || true; done
}

case ${1:-} in
create)
  forget
  tar -tzf "$BASE/files.tar.gz" >"$BASE/list"
  missing_folders <"$BASE/list" >>"$BASE/folders"
  sort -u -o "$BASE/folders" "$BASE/folders"
  tar -xzpf "$BASE/files.tar.gz" -C / --no-same-owner
  # It may hold logins.
  rm -f "$BASE/files.tar.gz"
  ;;
delete)
  forget
  rm -rf "$BASE"
  rmdir "${BASE%/*}" 2>/dev/null || true
  # Folders that a version before the list of them made.
  find /etc/litelab /etc/containerd/certs.d -depth -type d -empty -delete 2>/dev/null || true
  ;;
*)
  echo "usage: apply.sh create|delete" >&2
  exit 2
  ;;
esac
trust
lead
tell
