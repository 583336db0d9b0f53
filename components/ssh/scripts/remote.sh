#!/usr/bin/env bash
# remote.sh create|delete HOST SCRIPT, on the operator's machine: runs a script that the part's stage step put on a host, as root, with
# the same standard input. When this ends before the script does, in whatever way, so does the script.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
RUN=$(cd "$here/.." && pwd -P)
# shellcheck source-path=SCRIPTDIR source=config.sh
. "$here/config.sh"
# shellcheck source-path=SCRIPTDIR source=hostio.sh
. "$here/hostio.sh"
case ${1:-} in
create | delete) ;;
*)
  echo "usage: remote.sh create|delete HOST SCRIPT" >&2
  exit 2
  ;;
esac
HOST=${2:?} SCRIPT=${3:?}
# On a host that is gone there is nothing to remove.
if [ "$1" = delete ] && is_gone "$HOST"; then exit 0; fi
part=${here##*/}
ssh_restore

# Text, so a variable holds it; the point keeps the last line's end.
input=$(cat && echo .)
input=${input%.}
bytes=$(LC_ALL=C && echo "${#input}")
new_mark
share "$HOST"
as_root "$HOST" "$WATCHED" "$MARK" "exec /opt/litelab/${part%-*}/scripts/$SCRIPT $1" "$bytes"
# Both ends of a pipe: ssh's input ends with ssh alone, which is how the host sees that nobody waits any more.
exec 6<> <(:)
printf %s "$input" >&6 &
code=0
said=$(relayed ssh -F "$RUN/ssh_config" "${SHARED[@]}" "$HOST" "$REPLY" <&6) || code=$?
unframed "$HOST" "$code" "$said"
