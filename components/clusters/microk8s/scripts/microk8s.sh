# shellcheck shell=bash
# Sourced, after step.sh, by MicroK8s' steps on a host: its places, its snap, when it is ready.
# Sources: canonical/microk8s (snap/hooks/install, microk8s-resources/wrappers, scripts/wrappers/{add_token,join,status,remove_node}.py,
# tests/libs/airgap.sh) and its cluster agent (pkg/api/v2/join.go, pkg/k8sinit).
# shellcheck disable=SC2034 # its variables are for the scripts that source it

# /snap/bin is on no PATH but a login shell's.
MICROK8S=/snap/bin/microk8s
DATA=/var/snap/microk8s/current
COMMON=/var/snap/microk8s/common
UNIT=snap.microk8s.daemon-kubelite
AGENT_PORT=25000
API_PORT=16443
TAINT=node-role.kubernetes.io/control-plane

# What MicroK8s calls this host's node: its own name, for a join under another is refused.
NODE_NAME=$(hostname | tr '[:upper:]' '[:lower:]')
# On the first controller: HOST ADDRESS NODE of each host that was given a token.
MEMBERS=/var/lib/litelab/microk8s.members

kubectl() { timeout -k 5 60 "$MICROK8S" kubectl "$@"; }
# A worker's wrapper refuses; the snap's own program does not.
own_kubectl() { timeout -k 5 60 /snap/microk8s/current/kubectl --kubeconfig="$DATA/credentials/kubelet.config" "$@"; }

# nodes: NODE ADDRESS of each.
nodes() { kubectl get nodes -o jsonpath='{range .items[*]}{.metadata.name} {.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}'; }

# node_of HOST: the name of its node, which is another than the host's in the lab.
node_of() {
  if [ "$1" = "$NODE" ]; then
    echo "$NODE_NAME"
  else
    awk -v host="$1" '$1 == host { found = $3 } END { print found == "" ? host : found }' "$MEMBERS" 2>/dev/null || echo "$1"
  fi
}

# use_address: MicroK8s takes the address of the default route, which is another where a host has two networks.
use_address() {
  local link found
  link=$(ip -4 route show default | awk '{ for (i = 1; i < NF; i++) if ($i == "dev") { print $(i + 1); exit } }')
  found=$(ip -o -4 addr show dev "${link:-lo}" | awk '{ sub(/\/.*/, "", $4); print $4; exit }')
  if [ "$found" = "$ADDRESS" ] || grep -qxF -- "--node-ip=$ADDRESS" "$DATA/args/kubelet"; then return; fi
  interface_of "$ADDRESS" >/dev/null
  sed -i '/^--node-ip=/d' "$DATA/args/kubelet"
  echo "--node-ip=$ADDRESS" >>"$DATA/args/kubelet"
  if [ -e "$DATA/args/kube-apiserver" ]; then
    sed -i '/^--advertise-address=/d' "$DATA/args/kube-apiserver"
    echo "--advertise-address=$ADDRESS" >>"$DATA/args/kube-apiserver"
  fi
  start_unit "$UNIT" 120
}

# snap_do WHAT SECONDS ARGUMENTS...: snapd takes one change a snap at a time; who comes second waits for the first.
snap_do() {
  local what=$1 limit=$2 deadline=$((SECONDS + $2)) last code
  shift 2
  while :; do
    code=0
    last=$(timeout -k 5 "$((deadline - SECONDS + 1))" snap "$@" 2>&1 </dev/null) || code=$?
    [ "$code" -ne 0 ] || return 0
    case $last in
    *'change in progress'* | *'too early for operation'* | *'device not yet seeded'*)
      [ "$SECONDS" -lt "$deadline" ] || die "waited $limit s to $what; snapd is still busy: $(one_line "$last"). 'snap changes' and 'snap tasks --last=install' on the host show with what; run the same command again when it has ended."
      sleep 1
      ;;
    *'unable to contact snap store'* | *'cannot contact snap store'* | *'dial tcp'*)
      die "snapd could not $what, for it does not reach its store: $(one_line "$last"). Give hosts a way out (hosts: {internet: true}), or name the snaps as files in the lab's file (artifacts: microk8s, microk8s-assert, core22, core22-assert)."
      ;;
    *)
      [ "$SECONDS" -lt "$deadline" ] || die "waited $limit s for snapd to $what. Its last words: $(one_line "$last"). 'snap changes' on the host shows how far it is; run the same command again, which waits for it."
      die "snapd could not $what: $(one_line "$last"). 'journalctl -u snapd' and 'snap changes' on the host say more."
      ;;
    esac
  done
}

has_snap() { snap list "$1" >/dev/null 2>&1; }
# snap_version: version and revision of the MicroK8s that is installed.
snap_version() { snap list microk8s 2>/dev/null | awk 'NR == 2 { print $2, $3 }'; }

# satisfies WANTED: whether the installed snap is that. WANTED is vMAJOR.MINOR (any of its channel), vMAJOR.MINOR.PATCH, or that with +revNUMBER.
satisfies() {
  local version revision wanted=${1%%+rev*} number=''
  [[ $1 != *+rev* ]] || number=${1##*+rev}
  read -r version revision <<<"$(snap_version)"
  if [ -n "$number" ]; then
    [[ $version == "$wanted" && $revision == "$number" ]]
  else
    [[ $version == "$wanted" || $version == "$wanted".* ]]
  fi
}

# channel WANTED: where the store has it.
channel() { printf '%s/%s\n' "$(printf %s "${1#v}" | cut -d. -f1,2)" "${RISK:-stable}"; }

# install_file NAME ARGUMENTS...: a staged snap; by its assertion, if that was staged too.
install_file() {
  local name=$1 file assertion=$BASE/files/$1-assert
  shift
  file=$(artifact "$name")
  if [ -r "$assertion" ]; then
    snap_do "take the assertion of $name" 60 ack "$assertion"
    snap_do "install $name from $file" 600 install "$file" "$@"
  else
    snap_do "install $name from $file" 600 install "$file" --dangerous "$@"
  fi
}

# install_wanted: installs MicroK8s as the staged list says, or brings it there.
install_wanted() {
  local wanted verb=install
  wanted=$(staged_version)
  local options=("--channel=$(channel "$wanted")")
  [[ $wanted != *+rev* ]] || options+=("--revision=${wanted##*+rev}")
  if [ -r "$BASE/files/microk8s" ]; then
    install_file microk8s --classic
  else
    if has_snap microk8s; then verb=refresh; else options+=(--classic); fi
    snap_do "$verb MicroK8s ${options[*]}" 600 "$verb" microk8s "${options[@]}"
  fi
  satisfies "$wanted" || die "the lab's file asks for MicroK8s $wanted, and this host got $(snap_version). $(
    [ -r "$BASE/files/microk8s" ] && echo 'The staged snap is another version: correct version or artifacts.' ||
      echo "The channel $(channel "$wanted") has moved on: add the revision to version, as in v1.35.4+rev8511 ('snap info microk8s' lists what there is), or leave version out."
  )"
  # Else snapd would replace MicroK8s in the middle of a measurement.
  snap_do "hold MicroK8s' refreshes" 60 refresh --hold microk8s
}

# Read when the snap is installed, and never again.
launch_config() {
  mkdir -p "$COMMON"
  if [ "$ADDONS" = vendor ] && ! is_cgroup_v1; then
    rm -f "$COMMON/.microk8s.yaml"
    return
  fi
  {
    echo 'version: 0.1.0'
    # Out of the box everybody is allowed everything; the other distributions have RBAC.
    [ "$ADDONS" = vendor ] || printf 'extraKubeAPIServerArgs:\n  --authorization-mode: RBAC,Node\n'
    # MicroK8s's own, which this file replaces.
    printf 'extraKubeletArgs:\n  --cluster-domain: cluster.local\n  --cluster-dns: 10.152.183.10\n'
    printf '  --fail-swap-on: "false"\n  --resolv-conf: %s\n' "$(resolver_file)"
    ! is_cgroup_v1 || printf '  %s: "false"\n' --fail-cgroupv1
    printf 'addons:\n  - name: dns\n'
  } >"$COMMON/.microk8s.yaml"
}

# allow_cgroup_v1: for a snap that was installed before the launch configuration said so.
allow_cgroup_v1() {
  ! is_cgroup_v1 || grep -qs -e '^--fail-cgroupv1=' "$DATA/args/kubelet" || echo '--fail-cgroupv1=false' >>"$DATA/args/kubelet"
}

bases() { # what the snap stands on, when there is no store to get it from
  local name
  for name in snapd core22; do
    if [ -r "$BASE/files/$name" ] && ! has_snap "$name"; then install_file "$name"; fi
  done
}

# install_fresh: MicroK8s on a host without. Needs ADDONS and RISK.
install_fresh() {
  launch_config
  mkdir -p "$COMMON/sideload"
  cp "$BASE"/images/*.tar "$COMMON/sideload/"
  bases
  install_wanted
}

# install_again: the snap without anything that an earlier try left.
install_again() {
  rm -f /var/lib/litelab/microk8s.joined
  snap_do "remove a MicroK8s that never became part of the cluster" 300 remove --purge microk8s
  install_fresh
  "${BASH_SOURCE%/*}/mirrors.sh"
}

# wait_ready: the node's own MicroK8s, whose own wait has no end by default, and goes on when the unit dies in a loop.
wait_ready() {
  wait_for "MicroK8s to be ready ('microk8s status --wait-ready'; without a way out, images must be staged: images:)" 300 "$UNIT" \
    timeout -k 5 30 "$MICROK8S" status --wait-ready --timeout 20
}
