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

run() (
  for dir in "${cgroups[@]}"; do echo "$BASHPID" >"$dir/cgroup.procs"; done
  exec systemd-nspawn "$@"
)

code=133 # what nspawn ends with when the machine wants to start again (systemd-nspawn@.service, RestartForceExitStatus)
while [ "$code" -eq 133 ]; do
  code=0
  run "$@" || code=$?
done
exit "$code"
