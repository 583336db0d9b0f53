# shellcheck shell=bash
# Sourced by every step that runs on a host: its input, its lock, its waits, and what it says when one runs out.
# shellcheck disable=SC2034 # its variables are for the scripts that source it

BASE=/opt/litelab/upstream
KUBE=/etc/kubernetes
NODE=$(hostname)
export PATH=$BASE/links:$BASE/bin:$PATH
export GOMAXPROCS="${GOMAXPROCS:-2}"

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: host $NODE: $*"
  exit 1
}

# One step at a time on a host: a second 'up' waits for one that outlived its Pulumi.
mkdir -p /run/litelab /var/lib/litelab
exec 9>/run/litelab/step.lock
flock -w 300 9 || die "another step has held the host's lock for 300 s ('fuser /run/litelab/step.lock' names it). Run the same command again when it has ended."

# read_input: KEY=VALUE lines up to a line '---', then whatever follows is left on standard input.
read_input() {
  local line
  while IFS= read -r line && [ "$line" != --- ]; do
    [[ $line =~ ^[A-Z_]+=[A-Za-z0-9._:/,@=+-]*$ ]] || die "the step's input has the line '$line', which is no KEY=VALUE of plain characters"
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

# start_unit UNIT SECONDS: restart it, and say why when it does not come up.
start_unit() {
  timeout -k 5 "$2" systemctl restart "$1" || die "$1 did not start within $2 s; its state is $(systemctl is-active "$1"). Its journal ends:
$(journal "$1")"
}

# wait_for WHAT SECONDS UNIT COMMAND...: polls until COMMAND succeeds.
wait_for() {
  local what=$1 limit=$2 unit=$3 deadline last
  shift 3
  deadline=$((SECONDS + limit))
  until last=$("$@" 2>&1); do
    [ "$SECONDS" -lt "$deadline" ] || die "waited $limit s for $what. Last state: $(printf '%s' "$last" | tail -n 3 | tr '\n' ' '). $unit is $(systemctl is-active "$unit"), and its journal ends:
$(journal "$unit")
Look inside with 'make ssh HOST=$NODE'; run the same command again to go on."
    sleep 0.2
  done
}
