#!/usr/bin/env bash
# presence.sh look HOST: whether an existing host is still the one that the lab took, as "STATE REASON". States: running;
# unreachable; changed (another machine, or without the lab's mark). Nothing of it can be started from here.
# Environment: LITELAB_RUN, the lab's run folder; IDENTITY, what host.sh printed of it.
set -euo pipefail
HOST=${2:?usage: presence.sh look HOST}
RUN=$(cd "${LITELAB_RUN:?}" && pwd -P)
ssh=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# Beside this one in a lab's copy.
[ -r "$ssh/config.sh" ] || ssh=$ssh/../../../ssh/scripts
# shellcheck source-path=SCRIPTDIR source=../../../ssh/scripts/config.sh
. "$ssh/config.sh"
# shellcheck source-path=SCRIPTDIR source=../../../ssh/scripts/hostio.sh
. "$ssh/hostio.sh"
ssh_restore

look() {
  local said id lab want
  # shellcheck disable=SC2016 # for the host's shell
  said=$(on_host "$HOST" 'echo "$(cut -c1-12 /etc/machine-id) $(cat /var/lib/litelab/lab 2>/dev/null)"' timeout --foreground 20 </dev/null 2>/dev/null) || {
    # A banner is among ssh's errors too, so they are asked for when there are any.
    said=$({ timeout 20 ssh -F "$RUN/ssh_config" "$HOST" true </dev/null 2>&1 || true; } | tail -n 1 | tr -d '\r')
    echo "unreachable ssh does not answer (${said:-no answer within 20 s})"
    return
  }
  read -r id lab <<<"$said" || true
  want=$(cat "$RUN/lab.id" 2>/dev/null || true)
  if [ "$HOST-${id:-}" != "${IDENTITY%$'\n'}" ]; then
    echo "changed it is another machine now (machine id ${id:-unknown}, and the lab took ${IDENTITY#"$HOST-"})"
  elif [ "${lab:-}" != "$want" ]; then
    echo "changed it is not in this lab's use any more (/var/lib/litelab/lab there says ${lab:-nothing})"
  else
    echo running
  fi
}

case ${1:-} in
look) look ;;
*)
  echo "usage: presence.sh look HOST" >&2
  exit 2
  ;;
esac
