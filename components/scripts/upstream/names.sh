# shellcheck shell=bash
# Sourced on a host: the name that stands for several controllers' addresses in /etc/hosts.

# forget_controllers: written in its place, for in some hosts that file is a mount.
forget_controllers() {
  local names
  grep -q ' controllers\.litelab$' /etc/hosts || return 0
  names=$(sed '/ controllers\.litelab$/d' /etc/hosts && echo .)
  printf %s "${names%.}" >/etc/hosts
}
