# shellcheck shell=bash
# Sourced by config.sh: one connection to each host that commands share (ssh_config(5), ControlMaster), so that only the first of them
# logs in. Where it can't be had, each command logs in by itself. RUN is the stack's run folder.

# It ends by itself when nothing has used it for so long, also when everything that started it was killed.
UNUSED_S=10
# ssh binds the socket with 17 characters behind its name, and sun_path holds 107.
LONGEST_SOCKET=90

# _socket HOST: SOCKET is where the connection listens, and SHARED what ssh is given to use it.
_socket() {
  SOCKET=$RUN/ssh/.$1
  _path "$SOCKET"
  SHARED=(-o "ControlPath $REPLY")
}

# share HOST: a connection, if there is none; SHARED is what ssh is given besides.
share() {
  local SOCKET lock
  _socket "$1"
  if [[ ! -r $RUN/ssh_config || ${#SOCKET} -gt $LONGEST_SOCKET ]] || ! { exec {lock}>"$SOCKET.lock"; } 2>/dev/null; then
    SHARED=()
    return 0
  fi
  # Who waits here waits for a login that it would have had to do itself.
  if flock -w 30 "$lock" && ! _answers "$1"; then
    rm -f "$SOCKET"
    # In a session of its own: a signal to the step's group must not end what other steps use. It keeps no output of ours open.
    setsid timeout -k 5 $((60 * ${PATIENCE:-1})) ssh -F "$RUN/ssh_config" "${SHARED[@]}" -o "ControlPersist $UNUSED_S" -M -N -f "$1" \
      </dev/null >/dev/null 2>&1 {lock}>&- || true
  fi
  exec {lock}>&-
}

# A host may have started again since: its connection is there, and dead.
_answers() {
  ssh -F "$RUN/ssh_config" "${SHARED[@]}" -O check "$1" >/dev/null 2>&1 {lock}>&- &&
    timeout 10 ssh -F "$RUN/ssh_config" "${SHARED[@]}" "$1" true </dev/null >/dev/null 2>&1 {lock}>&-
}

# unshare HOST: the connection ends, with what uses it: the host of that name is another one now, or goes.
unshare() {
  local SOCKET SHARED
  _socket "$1"
  [ ! -S "$SOCKET" ] || timeout 10 ssh -F "$RUN/ssh_config" "${SHARED[@]}" -O exit "$1" >/dev/null 2>&1 || true
  rm -f "$SOCKET" "$SOCKET.lock"
}

# relayed SSH...: ssh is given by its words. A shared connection holds the standard error that it was given until the command on the host
# ends, even when ssh was killed; Pulumi waits for the end of that pipe. So it is given one of ours.
relayed() {
  local code=0 n out relay
  [ "${#SHARED[@]}" -gt 0 ] || {
    "$@"
    return
  }
  # A server that allows few sessions a connection refuses, and ssh then logs in by itself.
  exec {out}> >(exec sed -u '/^mux_client_request_session: session request failed/d' >&2)
  relay=$!
  "$@" 2>&"$out" || code=$?
  exec {out}>&-
  for ((n = 0; n < 100; n++)); do
    kill -0 "$relay" 2>/dev/null || return "$code"
    sleep 0.01
  done
  kill "$relay" 2>/dev/null || true
  return "$code"
}
