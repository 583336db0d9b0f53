#!/bin/bash
# receive.sh, on a host: takes a tar of list.new, files/ and images/ from standard input; the list is put in place last.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=step.sh
. "$(dirname "$0")/step.sh"

# sha256 FILE: by OpenSSL where it is there, which takes a quarter of the time.
sha256() {
  local digest
  digest=$(openssl dgst -sha256 -r "$1" 2>/dev/null || sha256sum "$1")
  printf '%s\n' "${digest%% *}"
}

incoming=$BASE/incoming
rm -rf "$incoming"
mkdir -p "$incoming" "$BASE/files" "$BASE/images"
if ! tar -xf - -C "$incoming"; then
  left=$(df -h --output=avail,target "$incoming" | tail -n 1)
  rm -rf "$incoming"
  die "the files did not arrive whole. Free where they go ('df -h $BASE'): $left"
fi
# While the list is not there, a killed step leaves nothing that looks whole.
rm -f "$BASE/list"
for kind in file image; do
  mv -f "$incoming/${kind}s"/* "$BASE/${kind}s/" 2>/dev/null || true
  for path in "$BASE/${kind}s"/*; do
    name=$(basename "$path")
    [ "$kind" = file ] || name=${name%.tar}
    grep -q "^$kind $name " "$incoming/list.new" || rm -f "$path"
  done
done
while read -r kind name digest; do
  case $kind in
  file) path=$BASE/files/$name ;;
  image) path=$BASE/images/$name.tar ;;
  *) continue ;;
  esac
  [ "$(sha256 "$path")" = "$digest" ] || die "$name is not what was sent: its SHA-256 is not $digest. Nothing of it was used; run the same command again."
done <"$incoming/list.new"
mv "$incoming/list.new" "$BASE/list"
rm -rf "$incoming"
