# shellcheck shell=bash
# Sourced by scripts on a host: names that a lab needs in /etc/hosts. cloud-init and others rewrite that file, at a boot or later, so
# systemd watches it and runs keep-names.sh. BASE is the part's folder.
NAMES=${NAMES:-/var/lib/litelab/names}
HOSTS_FILE=${HOSTS_FILE:-/etc/hosts}
NAMES_UNIT=litelab-names

# keep_names: the lab's lines are in the file, and no older ones. It is written in its place, for in some hosts it is a mount.
keep_names() {
  local now wanted
  now=$(cat "$HOSTS_FILE" 2>/dev/null && echo .) || now=.
  now=${now%.}
  # An older Litelab put no mark behind its line.
  wanted=$(printf %s "$now" | sed '/ # litelab$/d; / controllers\.litelab$/d' && echo .)
  wanted=${wanted%.}
  if [ -s "$NAMES" ]; then
    [ -z "$wanted" ] || [ "${wanted: -1}" = $'\n' ] || wanted+=$'\n'
    wanted+=$(sed 's/$/ # litelab/' "$NAMES")$'\n'
  fi
  [ "$now" = "$wanted" ] || printf %s "$wanted" >"$HOSTS_FILE"
}

# put_names <LINES: what is to be there, "ADDRESS NAME" lines, instead of what was before.
put_names() {
  local folder=/etc/systemd/system
  mkdir -p "$(dirname "$NAMES")"
  cat >"$NAMES.new"
  mv "$NAMES.new" "$NAMES"
  if [ ! -s "$NAMES" ]; then
    forget_names
    return
  fi
  cat >"$folder/$NAMES_UNIT.service" <<UNIT
[Unit]
Description=Names of the lab in /etc/hosts
After=cloud-init-local.service cloud-init.service cloud-init-network.service
Before=kubelet.service kube-proxy.service flanneld.service
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/bin/bash $BASE/scripts/keep-names.sh

[Install]
WantedBy=multi-user.target
UNIT
  printf '[Unit]\nDescription=Somebody wrote /etc/hosts\n\n[Path]\nPathChanged=%s\n\n[Install]\nWantedBy=multi-user.target\n' "$HOSTS_FILE" >"$folder/$NAMES_UNIT.path"
  systemctl daemon-reload
  systemctl enable -q "$NAMES_UNIT.service"
  keep_names
  systemctl enable -q --now "$NAMES_UNIT.path"
}

# add_name ADDRESS NAME: one more.
add_name() { { cat "$NAMES" 2>/dev/null || true; printf '%s %s\n' "$1" "$2"; } | awk '!seen[$0]++' | put_names; }

forget_names() {
  systemctl disable -q --now "$NAMES_UNIT.path" "$NAMES_UNIT.service" 2>/dev/null || true
  rm -f "/etc/systemd/system/$NAMES_UNIT.path" "/etc/systemd/system/$NAMES_UNIT.service" "$NAMES"
  keep_names
}
