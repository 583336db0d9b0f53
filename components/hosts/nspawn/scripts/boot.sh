#!/bin/bash
# Runs inside a host before anything else: what a kubelet expects of a machine. host.sh caps it by cgroups.
set -euo pipefail

mount --make-rshared /

# cgroup v1: systemd-nspawn mounts the controllers read-only; a kubelet makes its own tree in each.
if [ ! -f /sys/fs/cgroup/cgroup.controllers ]; then
  mount -o remount,rw /sys/fs/cgroup 2>/dev/null || true
  for controller in /sys/fs/cgroup/*/; do
    controller=${controller%/}
    [ -L "$controller" ] || mount -o remount,bind,rw "$controller" 2>/dev/null || true
  done
fi

caps=/run/host/caps
for file in cpuinfo meminfo; do mount --bind "$caps/$file" "/proc/$file"; done
[ ! -d /sys/devices/system/cpu ] || mount --bind "$caps/cpu" /sys/devices/system/cpu
[ ! -d /sys/devices/system/node ] || mount --bind "$caps/node" /sys/devices/system/node
