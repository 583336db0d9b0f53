#!/usr/bin/env bash
# machine.sh CGROUP... -- OPTION...: a systemd-nspawn machine in these cgroups, started again whenever it reboots. Where systemd
# runs outside, its unit does that.
set -euo pipefail

cgroups=()
while [ "$1" != -- ]; do
  cgroups+=("$1")
  shift
done
shift

enter() { for dir in "${cgroups[@]}"; do echo "$BASHPID" >"$dir/cgroup.procs"; done; }

# On v2 a cgroup has processes or caps for its children: there this script stays outside.
[ -f /sys/fs/cgroup/cgroup.controllers ] || enter

run() (
  [ ! -f /sys/fs/cgroup/cgroup.controllers ] || enter
  exec systemd-nspawn "$@"
)

code=133 # what nspawn ends with when the machine wants to start again (systemd-nspawn@.service, RestartForceExitStatus)
while [ "$code" -eq 133 ]; do
  code=0
  run "$@" || code=$?
done
exit "$code"
