# shellcheck shell=bash
# Sourced by steps that run on the operator's machine and work on hosts by ssh.
# shellcheck disable=SC2034 # its variables are for the scripts that source it
# A script lives in RUN/<part>-<hash>/.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
RUN=$(cd "$here/.." && pwd -P)
STACK=${RUN##*/}
PART=$(basename "$here" | sed 's/-[0-9a-f]*$//')
BLOBS=${LITELAB_CACHE:-$RUN/../../../.cache}/blobs
ON_HOST=/opt/litelab/$PART
# shellcheck source-path=SCRIPTDIR source=../../ssh/scripts/config.sh
. "$here/config.sh"
# shellcheck source-path=SCRIPTDIR source=../../ssh/scripts/hostio.sh
. "$here/hostio.sh"
ssh_restore

die() { # die HOST TEXT
  printf 'error: host %s: %s\n' "$1" "${*:2}" >&2
  exit 1
}

say() { printf '%s\n' "$*" >&2; }

# How many times longer than on hardware a step may take: hosts that are emulated say so.
PATIENCE=$(cat "$RUN/patience" 2>/dev/null || echo 1)

# list_for RUNS_PODS: what a host is to have; images are for those that run pods (true or false).
list_for() { awk -v pods="$1" 'pods == "true" || $1 != "image"' "$RUN/$PART.list"; }

# on HOST COMMAND: what a command prints that root runs on a host; its standard input is the caller's.
on() {
  local SHARED
  share "$1"
  on_host "$1" "$2"
}

# cut_short HOST TEXT: why something could not be copied: a full disk, say; or nobody is there any more.
cut_short() {
  timeout 30 ssh -F "$RUN/ssh_config" -o ConnectTimeout=10 "$1" true </dev/null >/dev/null 2>&1 ||
    die "$1" "it does not answer over ssh. If it is starting again, wait for it ('make ssh STACK=$STACK HOST=$1'), and run the same command again."
  die "$1" "$2 ended early. 'make ssh STACK=$STACK HOST=$1 CMD=\"df -h /\"' shows whether its disk is full; run the same command again to go on."
}

# bounded_on SECONDS HOST COMMAND: as on, ended when it takes too long. It stays in our process group, which ends as one.
bounded_on() {
  local limit=$(($1 * PATIENCE)) host=$2 code=0 SHARED
  shift 2
  share "$host"
  on_host "$host" "$*" timeout --foreground -k 5 "$limit" || code=$?
  [ "$code" -ne 124 ] || say "error: host $host: '${*: -1}' had not ended after $limit s, and the connection was given up. Run the same command again to go on."
  return "$code"
}
