# shellcheck shell=bash
# Sourced by every nspawn script: where things are, what they are called, and the machine-wide lock.
# A script lives in RUN/nspawn-<hash>/, so RUN needs no argument and a moved checkout changes nothing.
# Physical paths: mounts are listed by them, and a checkout may be reached through a link.
# shellcheck disable=SC2034 # its variables are for the scripts that source it

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
RUN=${LITELAB_RUN:-$(cd "$here/.." && pwd -P)}
STACK=${RUN##*/}
# What must outlive the checkout: the machine's own list of labs. /run goes with a reboot, as the labs do.
REGISTRY=/run/litelab
# How many times longer than on hardware everything may take: a slow machine, such as an emulated one, says so in this file.
PATIENCE=$(cat /etc/litelab/patience 2>/dev/null || echo 1)
# Beside this one in a lab's copy; orphans.sh runs from the checkout.
# shellcheck source-path=SCRIPTDIR source=../ssh/config.sh
if [ -r "$here/config.sh" ]; then . "$here/config.sh"; else . "$here/../ssh/config.sh"; fi

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

need_root() {
  [ "$EUID" -eq 0 ] || die "nspawn hosts are made by root, and this is user $(id -un). Run 'sudo make lab', or choose another hosts.kind in stacks/."
}

# The lock that keeps two labs from choosing the same subnet, or from restoring sysctls under each other.
machine_lock() {
  local waited=0
  while :; do
    mkdir -p "$REGISTRY/labs"
    exec 9>"$REGISTRY/lock"
    flock -w $((60 * PATIENCE)) 9 || die "another lab has held $REGISTRY/lock for $((60 * PATIENCE)) s; 'fuser $REGISTRY/lock' names the process."
    # The last lab takes the file away: who waited for that one would hold a lock that nobody else sees.
    [ ! "$REGISTRY/lock" -ef "/proc/$BASHPID/fd/9" ] || [ ! -d "$REGISTRY/labs" ] || return 0
    waited=$((waited + 1))
    [ "$waited" -lt 100 ] || die "$REGISTRY/lock went away 100 times while it was waited for."
  done
}
machine_unlock() { exec 9>&-; }

# Two scripts never work on one host at once, even when the first outlived the Pulumi that started it.
host_lock() {
  mkdir -p "$RUN/hosts"
  exec 8>"$RUN/hosts/$1.lock"
  local limit=${LOCK_TIMEOUT_S:-$((120 * PATIENCE))}
  flock -w "$limit" 8 || die "host $1: another step has held its lock for $limit s; 'fuser $RUN/hosts/$1.lock' names the process."
}

# uplink_of LAB_ID: the link on this machine, at most 15 characters. Its hash is of the whole id: stacks of one checkout
# may begin alike.
uplink_of() { printf '%s-%s' "$(printf %s "$1" | cut -c1-8)" "$(printf %s "$1" | sha256sum | cut -c1-6)"; }

# load_lab: LAB_ID, PREFIX (first three numbers of the /24), and the names made from them.
load_lab() {
  if [ -r "$RUN/lab.env" ]; then
    # shellcheck disable=SC1091
    . "$RUN/lab.env"
  elif [ -n "${LITELAB_LAB_ID:-}" ]; then
    # Only orphans.sh knows a lab by its id alone.
    LAB_ID=$LITELAB_LAB_ID PREFIX='' UPLINK=$(uplink_of "$LITELAB_LAB_ID")
  else
    return 1
  fi
  LAB_NS=litelab-$LAB_ID
  RECORD=$REGISTRY/labs/$LAB_ID
}

# step NAME HOST: appends how long the script has taken (benchmarks read the file) and says so.
STEP_BEGAN_US=${EPOCHREALTIME/[.,]/}
step_done() {
  local ms=$(((${EPOCHREALTIME/[.,]/} - STEP_BEGAN_US) / 1000))
  printf '{"step":"%s","host":"%s","seconds":%d.%03d}\n' "$1" "$2" $((ms / 1000)) $((ms % 1000)) >>"$RUN/steps.jsonl"
}

CGROUP_VERSION=1
[ ! -f /sys/fs/cgroup/cgroup.controllers ] || CGROUP_VERSION=2
# Where systemd runs outside, a unit of its own makes, caps and ends a machine on v2.
BY_UNIT=false
[ "$CGROUP_VERSION" = 1 ] || [ ! -d /run/systemd/system ] || BY_UNIT=true

# cgroups LAB HOST: CGROUPS, every directory that holds the host's processes, one a hierarchy on v1.
cgroups() {
  local hierarchy
  CGROUPS=()
  if $BY_UNIT; then
    CGROUPS=("/sys/fs/cgroup/litelab.slice/litelab-$1-$2.service")
  elif [ "$CGROUP_VERSION" = 2 ]; then
    CGROUPS=("/sys/fs/cgroup/litelab/$1/$2")
  else
    for hierarchy in /sys/fs/cgroup/*/; do
      # cpu and cpuacct can be links to one hierarchy: each is made once.
      [ -L "${hierarchy%/}" ] || [ ! -e "$hierarchy/cgroup.procs" ] || CGROUPS+=("${hierarchy}litelab/$1/$2")
    done
  fi
}
