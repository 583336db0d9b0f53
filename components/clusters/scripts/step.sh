# shellcheck shell=bash
# Sourced by every step that runs on a host: its input, its lock, its waits, and what it says when one runs out.
# shellcheck disable=SC2034 # its variables are for the scripts that source it

# Where stage put the part: its programs, images and scripts.
BASE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# What the lab calls it, where that is not its hostname.
NODE=$(cat /var/lib/litelab/name 2>/dev/null || hostname)
export PATH=$BASE/links:$BASE/bin:$PATH
# What logins on this host get (/etc/environment, sudo's env_keep) is meant for others: a proxy would be asked for the API server, K3s's
# installer takes whatever begins with K3S_, and a translated message is not understood.
unset {http,https,all,no}_proxy {HTTP,HTTPS,ALL,NO}_PROXY TMPDIR "${!INSTALL_K3S_@}" "${!K3S_@}" "${!KUBE@}" "${!CONTAINERD_@}" \
  "${!ETCDCTL_@}" "${!MICROSHIFT_@}"
export LC_ALL=C
# Not below root's home, which a living host's root may use.
export KUBECACHEDIR=/run/litelab/kubectl
export GOMAXPROCS="${GOMAXPROCS:-2}"

say() { printf '%s\n' "$*" >&2; }

# by_make TARGET: what a person types on their machine for this lab.
by_make() { echo "make $1${LITELAB_STACK:+ STACK=$LITELAB_STACK}"; }

die() {
  say "error: host $NODE: $*"
  exit 1
}

# The proxy of the place where the lab stands, if it has one: sessions by ssh read no profile.
if [ -r /etc/litelab/environment ]; then
  set -a
  # shellcheck disable=SC1091
  . /etc/litelab/environment
  set +a
fi

# One step at a time on a host: a second 'up' waits for one that outlived its Pulumi.
mkdir -p /run/litelab /var/lib/litelab
exec 9>/run/litelab/step.lock
flock -w 300 9 || die "another step has held the host's lock for 300 s ('fuser /run/litelab/step.lock' names it). Run the same command again when it has ended."

# read_input: KEY=VALUE lines up to a line '---', then whatever follows is left on standard input.
read_input() {
  local line
  while IFS= read -r line && [ "$line" != --- ]; do
    [[ $line =~ ^[A-Z_]+=[A-Za-z0-9._:/,@=+-]*$ ]] || die "the step's input has a line that is no KEY=VALUE of plain characters, so nothing was done. It is not shown, for it may be a key. The settings are in stacks/: look there for blanks and quotes."
    declare -g "${line%%=*}=${line#*=}"
  done
}

STEP_BEGAN_NS=$(date +%s%N)
step_done() { # step_done NAME
  local ms=$((($(date +%s%N) - STEP_BEGAN_NS) / 1000000))
  printf '{"step":"%s","host":"%s","seconds":%d.%03d}\n' "$1" "$NODE" $((ms / 1000)) $((ms % 1000)) | tee -a /var/lib/litelab/steps.jsonl
}

# journal UNIT: its last lines, for an error.
journal() { journalctl -u "$1" -n 8 --no-pager -o cat 2>/dev/null | cut -c1-300 | sed 's/^/    /'; }

# How many times longer than on hardware everything may take here: emulated hosts say so themselves.
PATIENCE=$(cat /etc/litelab/patience 2>/dev/null || echo 1)

# start_unit UNIT SECONDS: restart it, and say why when it does not come up.
start_unit() {
  local limit=$(($2 * PATIENCE))
  timeout -k 5 "$limit" systemctl restart "$1" || die "$1 did not start within $limit s; its state is $(systemctl is-active "$1"). Its journal ends:
$(journal "$1")"
}

# A unit that is restarted so often while it is waited for never comes up: Restart=always with a second's pause reaches no limit
# of systemd's.
MOST_RESTARTS=5
# Nor one that has been between two starts for so many seconds: k0s's pauses for two minutes.
LONGEST_PAUSE_S=20

# seen_of UNIT: "failed" when systemd has given it up, else how often it has restarted it, and "pausing" when it is between two starts.
seen_of() {
  local said count
  said=$(systemctl show -p ActiveState -p SubState -p NRestarts "$1" 2>/dev/null) || true
  count=${said#*NRestarts=}
  count=${count%%$'\n'*}
  [[ $count =~ ^[0-9]+$ ]] || count=0
  case $said in
  *ActiveState=failed*) echo failed ;;
  *SubState=auto-restart*) echo "$count pausing" ;;
  *) echo "$count" ;;
  esac
}

# is_hopeless UNIT: whether a unit dies whenever it starts; to be asked once a second since watch_unit.
watch_unit() { PAUSES=0 RESTARTS=''; }
is_hopeless() {
  local now pausing
  read -r now pausing < <(seen_of "$1")
  [ "$now" != failed ] || return 0
  [ -n "$RESTARTS" ] || RESTARTS=$now
  if [ -n "$pausing" ]; then PAUSES=$((PAUSES + 1)); fi
  [ $((now - RESTARTS)) -gt "$MOST_RESTARTS" ] || [ "$PAUSES" -gt "$LONGEST_PAUSE_S" ]
}

# wait_for WHAT SECONDS UNIT COMMAND...: polls until COMMAND succeeds; one that takes long is run less often, for what it takes is
# missing where the waited-for starts.
wait_for() {
  local what=$1 limit=$(($2 * PATIENCE)) unit=$3 deadline last began pause looked=-1
  shift 3
  deadline=$((SECONDS + limit))
  watch_unit
  while began=${EPOCHREALTIME/[.,]/} && ! last=$("$@" 2>&1); do
    if [ "$looked" -ne "$SECONDS" ]; then
      looked=$SECONDS
      ! is_hopeless "$unit" || limit="$((SECONDS - deadline + limit))" deadline=0
    fi
    [ "$SECONDS" -lt "$deadline" ] || die "waited $limit s for $what. Last state: $(printf '%s' "$last" | tail -n 3 | tr '\n' ' '). $unit is $(systemctl is-active "$unit"), restarted $(systemctl show -p NRestarts --value "$unit") times, and its journal ends:
$(journal "$unit")
Look inside with '$(by_make ssh) HOST=$NODE'; run the same command again to go on."
    pause=$((2 * (${EPOCHREALTIME/[.,]/} - began)))
    pause=$((pause < 200000 ? 200000 : pause > 2000000 ? 2000000 : pause))
    sleep "$(printf '%d.%06d' $((pause / 1000000)) $((pause % 1000000)))"
  done
}

# staged_version: what is to run here, as the list says.
staged_version() { awk '$1 == "version" { print $2 }' "$BASE/list"; }

# artifact NAME: the path of a staged file.
artifact() {
  [ -r "$BASE/files/$1" ] || die "the artifact $1 is not in $BASE/files. Run the same command again; staging copies it."
  printf '%s\n' "$BASE/files/$1"
}

# program NAME: as artifact, made executable; refused when it is for another processor.
program() {
  local path machine
  path=$(artifact "$1")
  machine=$(od -An -tu2 -j18 -N2 "$path" | tr -d ' ')
  if [ "$(head -c 4 "$path" | od -An -tx1 | tr -d ' \n')" = 7f454c46 ]; then
    case $(uname -m)/$machine in
    x86_64/62 | aarch64/183) ;;
    *) die "the artifact $1 is built for another processor (ELF machine $machine) than this host's $(uname -m). Name the right one in the lab's file as artifacts: {$1: PATH-OR-ADDRESS}." ;;
    esac
  fi
  chmod 755 "$path"
  printf '%s\n' "$path"
}

# place FILE TARGET: the same file once more, or its copy on another file system. Whoever replaces one does it by a rename.
place() {
  rm -f "$2"
  ln "$1" "$2" 2>/dev/null || cp "$1" "$2"
}

# put_program NAME TARGET: the staged program in its place. Its own word for its version, which the distribution's function
# version_of PATH reads, must be what the lab asks for.
put_program() {
  local staged says
  staged=$(program "$1")
  says=$(version_of "$staged")
  [ "$says" = "$(staged_version)" ] ||
    die "the artifact $1 says it is ${says:-no $1}, and the lab asks for $(staged_version). Name the right file in the lab's file, or set version: $says."
  cmp -s "$staged" "$2" || {
    mkdir -p "$(dirname "$2")"
    place "$staged" "$2.new"
    mv "$2.new" "$2"
  }
}

# put_staged NAME TARGET: the program, unless a version runs here already, which is the upgrade's business; and the images, by the
# distribution's put_images. A list that has been put is not put again.
put_staged() {
  ! cmp -s "$BASE/list" "$BASE/put" || [ ! -x "$2" ] || return 0
  [ -e "$RUNNING" ] || put_program "$1" "$2"
  put_images
  cp "$BASE/list" "$BASE/put"
}

# What this host has been brought to, written when it runs.
RUNNING=$BASE/running
mark_running() {
  staged_version >"$RUNNING.new"
  mv "$RUNNING.new" "$RUNNING"
}

# one_line TEXT: the last words of a program, for an error.
one_line() { printf '%s' "$1" | tail -n 4 | tr '\n' ' ' | cut -c1-600; }

# is_container: whether this host shares its kernel, so that modules, sysctls and swap are not its own.
is_container() { systemd-detect-virt -q --container; }

# is_cgroup_v1: from Kubernetes 1.35 on a kubelet refuses it without failCgroupV1: false (kubernetes#134298).
is_cgroup_v1() { [ ! -f /sys/fs/cgroup/cgroup.controllers ]; }

# can_lower_oom: false in sandboxes without CAP_SYS_RESOURCE.
can_lower_oom() { [ $((0x$(awk '/^CapEff/ { print $2 }' /proc/self/status) >> 24 & 1)) = 1 ]; }

# prepare_os: what every distribution expects of a host, kept over a reboot; restore_os takes it back.
prepare_os() {
  local module
  is_container || {
    for module in overlay br_netfilter nf_conntrack vxlan; do modprobe "$module" 2>/dev/null || true; done
    printf '%s\n' overlay br_netfilter nf_conntrack vxlan >/etc/modules-load.d/litelab.conf
    printf 'net.ipv4.ip_forward=1\nnet.bridge.bridge-nf-call-iptables=1\nfs.inotify.max_user_instances=8192\nfs.inotify.max_user_watches=524288\n' >/etc/sysctl.d/90-litelab.conf
    sysctl -q -p /etc/sysctl.d/90-litelab.conf 2>/dev/null || true
  }
  [ "$(cat /proc/sys/net/ipv4/ip_forward)" = 1 ] || sysctl -q -w net.ipv4.ip_forward=1
}

# restore_os: without the lab's files; sysctls are restored by who gave the host. An older Litelab turned swap off.
restore_os() {
  rm -f /etc/modules-load.d/litelab.conf /etc/sysctl.d/90-litelab.conf
  if grep -qs '^# litelab: ' /etc/fstab; then
    sed -i 's/^# litelab: //' /etc/fstab
    swapon -a || say "host $NODE: swap could not be turned on again; 'swapon -a' there says why"
  fi
}

# resolver_file: the list of resolvers that pods can use. One on the host's loopback, a stub, is another thing inside a pod.
resolver_file() {
  local file stub='^[[:space:]]*nameserver[[:space:]]+(127\.|::1([[:space:]]|$))'
  if grep -qsE "$stub" /etc/resolv.conf; then
    for file in /run/systemd/resolve/resolv.conf /run/NetworkManager/no-stub-resolv.conf /run/NetworkManager/resolv.conf /run/dnsmasq/resolv.conf; do
      if grep -qsE '^[[:space:]]*nameserver[[:space:]]' "$file" && ! grep -qE "$stub" "$file"; then
        echo "$file"
        return
      fi
    done
  fi
  echo /etc/resolv.conf
}

# interface_of ADDRESS: the link that has it.
interface_of() {
  local found
  found=$(ip -o -4 addr show to "$1" | awk '{ print $2; exit }')
  [ -n "$found" ] || die "no interface has the address $1, which the lab gives this host. 'ip addr' on the host shows what it has."
  printf '%s\n' "$found"
}

# reach WHAT ADDRESS PORT SECONDS: waits until a port of another host takes connections.
reach() {
  local limit=$(($4 * PATIENCE)) deadline
  deadline=$((SECONDS + limit))
  until timeout 3 bash -c "exec 3<>/dev/tcp/$2/$3" 2>/dev/null; do
    [ "$SECONDS" -lt "$deadline" ] || die "waited $limit s for $1 at $2:$3, which takes no connection. Is it up ('$(by_make status)'), and does a firewall between the hosts let port $3 through? Run the same command again to go on."
    sleep 0.3
  done
}
