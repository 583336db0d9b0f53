#!/usr/bin/env bash
# fill.sh BASE FOLDER USER: completes a machine's files (BASE, read-only, with FOLDER/files and FOLDER/home over it), runs set-up in
# them as a user would, and writes them to FOLDER/root.raw. In mount, PID and UTS namespaces of its own, which end its mounts.
set -euo pipefail
base=$1 folder=$2 user=$3
root=$folder/merged

mount -t overlay -o "lowerdir=$base,upperdir=$folder/upper,workdir=$folder/work" machine "$root"
hostname workstation
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"

chroot "$root" useradd --create-home --shell /bin/bash "$user"
cp -a "$folder/home/." "$root/home/$user/"
cp -a "$folder/files/." "$root/"
chown -R root:root "$root/etc/sudoers.d" "$root/etc/fstab" "$root/etc/systemd/network"
# Programs built elsewhere belong to root in a cache that 'sudo make setup' made; the checkout is the user's.
chroot "$root" chown -R "$user:$user" "/home/$user"
chmod 755 "$root"

# Downloads go the way this machine's do, while set-up runs.
mv "$root/etc/resolv.conf" "$folder/resolv.conf"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
[ ! -e /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/pip.conf"
find "$root/etc/apt/apt.conf.d" -newer "$base" -name '*litelab*' -delete
for conf in /etc/apt/apt.conf.d/*; do
  if grep -qE '^(Acquire|Dir::Ignore)' "$conf"; then cp "$conf" "$root/etc/apt/apt.conf.d/"; fi
done
cp -L /etc/ssl/certs/ca-certificates.crt "$root/run/authorities.pem"
mount -t tmpfs tmp "$root/tmp"

# README.md's way: as a user, by sudo, and nothing asked for.
chroot "$root" su - "$user" -c "cd litelab && sudo make setup LITELAB_CA=/run/authorities.pem"

umount "$root/tmp"
rm -f "$root/run/authorities.pem" "$root/etc/pip.conf"
cp "$folder/resolv.conf" "$root/etc/resolv.conf"
umount -l "$root/proc" "$root/dev" "$root/sys"
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/cache/apt/archives/"*.deb
chroot "$root" ssh-keygen -A >/dev/null
: >"$root/etc/machine-id"
mke2fs -q -F -t ext4 -L root -E lazy_itable_init=1,nodiscard -d "$root" "$folder/root.raw"
