# shellcheck shell=bash disable=SC2148,SC2154
# As frame.sh, for a command whose input comes first ($2 bytes of it): when the connection ends before the command does, the command's
# process group is ended, for nobody waits for it any more. The input goes through no file and no argument.
umask 022; unset BASH_ENV ENV; PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; i=; [ "$2" = 0 ] || LC_ALL=C IFS= read -rN "$2" i; c=$(printf %s "$1" | base64 -d) || exit 97; exec 3<&0 </dev/null; echo; echo "$0 begin"; printf %s "$i" | setsid bash --norc -c "$c" 3<&- & p=$! i=; { read -r _; kill -TERM -- -$p; sleep 0.5; kill -KILL -- -$p; } <&3 >/dev/null 2>&1 & w=$!; exec 3<&-; wait $p; r=$?; kill $w 2>/dev/null; echo; echo "$0 end"; exit $r
