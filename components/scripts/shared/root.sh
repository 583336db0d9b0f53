# shellcheck shell=bash
# Sourced by steps on the operator's machine: a command for a host, so that root runs it whoever logs in there.

# by_root SSH_CONFIG HOST COMMAND: what ssh is to be given.
by_root() {
  if [ "$(ssh -T -G -F "$1" "$2" | awk '$1 == "user" { print $2 }')" = root ]; then
    printf '%s' "$3"
  else
    printf 'sudo -n bash -c %s' "${3@Q}"
  fi
}
