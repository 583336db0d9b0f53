#!/bin/bash
# facts.sh, on a host, before anything is staged: what can stand in the way of Kubernetes, as KEY=VALUE lines.
set -euo pipefail
export LC_ALL=C
echo "clock=$(date +%s.%N)"
echo "hostname=$(hostname)"
echo "machine_id=$(cat /etc/machine-id 2>/dev/null || true)"
echo "architecture=$(uname -m)"
echo "kernel=$(uname -r)"
echo "os=$(. /etc/os-release 2>/dev/null && echo "${ID:-}-${VERSION_ID:-}")"
echo "user=$(id -un)"
echo "init=$(cat /proc/1/comm)"
echo "cgroup=$([ -f /sys/fs/cgroup/cgroup.controllers ] && echo 2 || echo 1)"
echo "memory_mib=$(($(awk '/^MemTotal:/ { print $2 }' /proc/meminfo) / 1024))"
echo "disk_free_mib=$(df -Pm /var/lib | awk 'NR == 2 { print $4 }')"
echo "virtualization=$(systemd-detect-virt 2>/dev/null || true)"
echo "swap=$(awk 'NR > 1 { n++ } END { print n + 0 }' /proc/swaps)"
echo "addresses=$(ip -o -4 addr show | awk '{ sub(/\/.*/, "", $4); printf "%s,", $4 }')"
echo "listening=$(ss -Htln 2>/dev/null | awk '{ sub(/.*:/, "", $4); print $4 }' | sort -un | tr '\n' ',')"
echo "parts=$(find /opt/litelab -mindepth 1 -maxdepth 1 -type d -printf '%f,' 2>/dev/null || true)"
