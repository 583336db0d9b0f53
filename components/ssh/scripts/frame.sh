# shellcheck shell=bash disable=SC2148,SC2154
# What a host's bash runs around a command: $0 is the frame's mark, $1 the command in base64. The last line, in single quotes, is part
# of what ssh hands to a login shell of any kind, so it has no single quote, backslash, exclamation mark or comment in it.
# A login's umask and what it lets every bash read first are its own; sudo may leave out where administrators' programs are.
umask 022; unset BASH_ENV ENV; PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; c=$(printf %s "$1" | base64 -d) || exit 97; echo; echo "$0 begin"; (eval "$c"); r=$?; echo; echo "$0 end"; exit $r
