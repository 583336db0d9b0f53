# shellcheck shell=bash
# Sourced by what runs on the operator's machine: commands on hosts, by ssh -F, as root, each answer in a frame. A login may print what
# it likes before and after (.bashrc, /etc/profile), and that is never taken for an answer. hostio.py is the same for Python.
# RUN is the stack's run folder. config.sh is sourced before.

# The frames' text is the last line of its file.
_frame() {
  local line
  while IFS= read -r line; do REPLY=$line; done <"$(dirname "${BASH_SOURCE[0]}")/$1"
}
_frame frame.sh
FRAME=$REPLY
_frame watched.sh
# shellcheck disable=SC2034 # for remote.sh
WATCHED=$REPLY

# as_root HOST FRAME MARK COMMAND ARGUMENTS: REPLY is what ssh is given, so that bash runs the command as root whatever the login shell is.
as_root() {
  local sudo='' stack
  ssh_user "$1"
  # For what a script says to a person, who has to name it.
  printf -v stack 'export LITELAB_STACK=%q; ' "${RUN##*/}"
  [ "$REPLY" = root ] || sudo='sudo -n '
  printf -v REPLY "%sbash --norc -c '%s' %s %s" "$sudo" "$2" "$3" "$(printf %s "$stack$4" | base64 -w 0)${5:+ $5}"
}

# is_gone HOST: whether the user says that it will never answer again (make ... GONE=), so that nothing is undone on it.
is_gone() { [[ " ${LITELAB_GONE:-} " == *" $1 "* ]]; }

new_mark() { MARK=litelab-$RANDOM$RANDOM$RANDOM$RANDOM; }

# unframed HOST CODE SAID: prints the answer that is in what a host said, and returns the command's exit code.
unframed() {
  local host=$1 code=$2 said=$3 noise
  if [[ $'\n'$said == *$'\n'"$MARK begin"$'\n'* ]]; then
    said=${said#*"$MARK begin"$'\n'}
    if [[ $'\n'$said$'\n' == *$'\n'"$MARK end"$'\n'* ]]; then
      printf %s "${said%$'\n'"$MARK end"*}"
      return "$code"
    fi
    printf %s "$said"
    [ "$code" -ne 0 ] || {
      printf 'error: host %s: its answer broke off. Run the same command again to go on.\n' "$host" >&2
      code=255
    }
    return "$code"
  fi
  noise=$(printf %s "$said" | tr -s '[:space:]' ' ' | tail -c 300)
  if [ -n "$noise" ]; then
    printf 'error: host %s: it ran nothing, and its login printed: %s. A login without a terminal must start the command that it is given: see ~/.bashrc, /etc/profile, the shell of the user there and ForceCommand of its sshd; then run the same command again.\n' "$host" "$noise" >&2
  elif [ "$code" -eq 0 ]; then
    printf 'error: host %s: it printed no answer. Run the same command again to go on.\n' "$host" >&2
  fi
  [ "$code" -ne 0 ] || code=255
  return "$code"
}

# on_host HOST COMMAND [LIMIT...]: what a command prints on a host; its standard input is the caller's. LIMIT is a command that bounds ssh.
# After 'share HOST' it goes by the shared connection.
SHARED=()
on_host() {
  local host=$1 said code=0 MARK
  new_mark
  as_root "$host" "$FRAME" "$MARK" "$2"
  shift 2
  said=$(relayed "$@" ssh -F "$RUN/ssh_config" "${SHARED[@]}" "$host" "$REPLY") || code=$?
  unframed "$host" "$code" "$said"
}
