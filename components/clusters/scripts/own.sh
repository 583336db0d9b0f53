# shellcheck shell=bash
# Sourced by a distribution's reset on a host: removes what the lab put there, and nothing that was there before.
# The inventory that was taken when the host was claimed says which is which. Hosts of other kinds have none: all on them is the lab's.
BEFORE=${BEFORE:-/var/lib/litelab/before}

# was_there LINE: the inventory of before has it.
was_there() { grep -qsxF -- "$1" "$BEFORE"; }

# Every path of the inventory.
declare -A HAD=()
while IFS= read -r _path; do HAD[$_path]=1; done < <(
  sed -nE 's/^(file [0-9a-f]{12}|file|folder|path|link) (\/.*)$/\2/p' "$BEFORE" 2>/dev/null | sed 's/ -> .*//'
)
unset _path

# mounts_at PATH: mount points that are PATH or below it, the deepest first.
mounts_at() { awk -v p="$1" '$5 == p || index($5, p "/") == 1 { print $5 }' /proc/self/mountinfo | sort -ru; }

# unmount_new PATH...: mounts at these places that are not the host's own.
unmount_new() {
  local path mount
  for path; do
    mounts_at "$path" | while IFS= read -r mount; do
      was_there "mount $mount" || umount -l "$mount" 2>/dev/null || true
    done
  done
}

# clear_folder PATH: empties it. A disk of its own stays mounted and keeps its lost+found; what the inventory names stays, too.
clear_folder() {
  local folder found
  while IFS= read -r folder; do
    while IFS= read -r -d '' found; do
      [ -n "${HAD[$found]:-}" ] || rm -rf --one-file-system "$found" 2>/dev/null || true
    done < <(find "$folder" -mindepth 1 -maxdepth 1 ! -name lost+found -print0 2>/dev/null)
  done < <(mounts_at "$1" && printf '%s\n' "$1")
}

# remove PATH...: what the lab made there. In /etc, /opt and /usr/local the inventory has each file; elsewhere it has the folder and
# what is directly in it, and a host with data deeper down was refused.
remove() {
  local path found
  for path; do
    [ -e "$path" ] || [ -L "$path" ] || continue
    case $path in
    /etc/* | /opt/* | /usr/local/*)
      while IFS= read -r -d '' found; do
        [ -z "${HAD[$found]:-}" ] || continue
        if [ -d "$found" ] && [ ! -L "$found" ]; then rmdir "$found" 2>/dev/null || true; else rm -f "$found"; fi
      done < <(find -H "$path" -depth -print0)
      ;;
    *)
      unmount_new "$path"
      # A link may lead to another disk.
      [ ! -d "$path" ] || clear_folder "$(readlink -f "$path")"
      if [ -z "${HAD[$path]:-}" ] && [ -z "$(mounts_at "$path")" ]; then rm -rf --one-file-system "$path"; fi
      ;;
    esac
  done
}

# remove_empty PATH...: folders that programs made around their own, where nothing is in them and the host had none of that name.
remove_empty() {
  local found
  while IFS= read -r -d '' found; do
    [ -n "${HAD[$found]:-}" ] || rmdir "$found" 2>/dev/null || true
  done < <(find "$@" -depth -type d -print0 2>/dev/null)
}

remove_links() { # remove_links NAME...: network interfaces
  local name
  for name; do was_there "interface $name" || ip link del "$name" 2>/dev/null || true; done
}

# remove_namespaces: network namespaces of pods, and the folder that was made for them.
remove_namespaces() {
  local name
  for name in $(ip netns list 2>/dev/null | awk '/^cni-/ { print $1 }'); do
    was_there "namespace $name" || ip netns del "$name" 2>/dev/null || true
  done
  if [ -d /run/netns ] && [ -z "${HAD[/run/netns]:-}" ] && [ -z "$(ls -A /run/netns)" ]; then
    umount /run/netns 2>/dev/null || true
    rmdir /run/netns 2>/dev/null || true
  fi
}

# remove_rules PATTERN [TABLE...]: rules and chains of iptables that match.
remove_rules() {
  local pattern=$1 family table now kept
  shift
  [ $# -gt 0 ] || set -- nat filter mangle
  for family in iptables ip6tables; do
    for table; do
      now=$("$family-save" -t "$table" 2>/dev/null) || continue
      kept=$(awk -v f="$family" -v t="$table" -v pattern="$pattern" '
        before { had[$0]; next }
        $0 !~ pattern || ("rule " f " " t " " $0) in had || ("chain " f " " t " " $1 " " $2) in had' \
        before=1 "$(if [ -r "$BEFORE" ]; then echo "$BEFORE"; else echo /dev/null; fi)" before= - <<<"$now")
      [ "$kept" = "$now" ] || "$family-restore" -T "$table" <<<"$kept" 2>/dev/null || true
    done
  done
}

# keep_mounts PATH...: the host's own mounts there, held while a vendor's script unmounts all that it finds; then put_mounts_back.
KEPT_MOUNTS=/run/litelab/mounts
keep_mounts() {
  local path mount number=0
  mkdir -p "$KEPT_MOUNTS"
  for path; do
    while IFS= read -r mount; do
      was_there "mount $mount" || continue
      number=$((number + 1))
      mkdir -p "$KEPT_MOUNTS/$number"
      mount --bind "$mount" "$KEPT_MOUNTS/$number" && printf '%s\n' "$mount" >"$KEPT_MOUNTS/$number.at"
    done < <(mounts_at "$path" | sort)
  done
}
put_mounts_back() {
  local at mount kept
  for at in "$KEPT_MOUNTS"/*.at; do
    [ -e "$at" ] || continue
    mount=$(<"$at") kept=${at%.at}
    if ! mounts_at "$mount" | grep -xF "$mount" >/dev/null; then
      mkdir -p "$mount"
      mount --bind "$kept" "$mount"
    fi
    umount -l "$kept"
  done
  rm -rf "$KEPT_MOUNTS"
}
