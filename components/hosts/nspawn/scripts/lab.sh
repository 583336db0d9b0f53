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
# shellcheck source-path=SCRIPTDIR source=../../../ssh/scripts/config.sh
if [ -r "$here/config.sh" ]; then . "$here/config.sh"; else . "$here/../../../ssh/scripts/config.sh"; fi

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

# load_lab: LAB_ID, PREFIX (first three numbers of the /24), and the names made from them. The run folder's lab.env says them; where it
# is gone or broken, the machine's list does. Only orphans.sh knows a lab by its id alone.
load_lab() {
  local line own='' dir
  LAB_ID='' PREFIX=''
  while read -r line || [ -n "$line" ]; do
    case $line in LAB_ID=*) LAB_ID=${line#*=} ;; PREFIX=*) PREFIX=${line#*=} ;; esac
  done 2>/dev/null <"$RUN/lab.env" || true
  [[ $LAB_ID =~ ^[a-z0-9][a-z0-9-]*-[0-9a-f]{6}$ ]] || LAB_ID=''
  if [ -n "${LITELAB_LAB_ID:-}" ]; then
    [ "$LAB_ID" = "$LITELAB_LAB_ID" ] || PREFIX=''
    LAB_ID=$LITELAB_LAB_ID
  fi
  for dir in "$REGISTRY"/labs/*/; do
    [ -z "$LAB_ID" ] || break
    ! is_run_of "${dir%/}" || LAB_ID=$(basename "$dir")
  done
  [ -n "$LAB_ID" ] || return 1
  LAB_NS=litelab-$LAB_ID
  RECORD=$REGISTRY/labs/$LAB_ID
  UPLINK=$(uplink_of "$LAB_ID")
  [[ $PREFIX =~ ^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}$ ]] || { read -r PREFIX <"$RECORD/prefix"; } 2>/dev/null || PREFIX=''
  if [ -e "$RECORD/folder" ] && [ -z "${LITELAB_LAB_ID:-}" ] && ! is_run_of "$RECORD"; then
    own=$(python3 -I "$here/orphans.py" run-of "$LAB_ID")
    [ -z "$own" ] || [ "$own" = "$RUN" ] ||
      die "$RUN is a copy of $own, whose hosts are those of the lab $LAB_ID. Work on the lab there, or remove what was copied: 'rm -rf $RUN' and the stack's file in $RUN/../../state."
  fi
  # Whoever looks next finds the lab where it was moved to.
  if [ "$EUID" -eq 0 ] && [ -d "$RECORD" ] && [ -d "$RUN" ] && [ "$(cat "$RECORD/run" 2>/dev/null)" != "$RUN" ]; then note_run; fi
}

# is_run_of RECORD: whether this run folder is the lab's, also when it was moved: the same folder has the same number.
is_run_of() {
  local folder=''
  { read -r folder <"$1/folder"; } 2>/dev/null || true
  if [ -n "$folder" ]; then
    [ "$folder" = "$(stat -c %d:%i "$RUN" 2>/dev/null)" ] || { [ ! -e "$RUN/lab.env" ] && [ "$(cat "$1/run" 2>/dev/null)" = "$RUN" ] &&
      [ "$(python3 -I "$here/orphans.py" run-of "$(basename "$1")")" = "$RUN" ]; }
  else
    [ "$(cat "$1/run" 2>/dev/null)" = "$RUN" ]
  fi
}

# note_run: where the lab is run from, for those who find it by the machine's list.
note_run() {
  printf '%s\n' "$RUN" >"$RECORD/run"
  stat -c %d:%i "$RUN" >"$RECORD/folder"
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
