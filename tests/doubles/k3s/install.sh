#!/bin/sh
# Double of K3s's install.sh, as far as labs use it: unit, uninstaller and killall for a binary that is there; it downloads nothing.
set -e
die() {
  echo "[ERROR]  $*" >&2
  exit 1
}
[ "$INSTALL_K3S_SKIP_DOWNLOAD" = true ] || die 'Can not find curl or wget for downloading files.'
[ -x /usr/local/bin/k3s ] || die 'Executable k3s binary not found at /usr/local/bin/k3s'
case $1 in
server) name=k3s ;;
agent) name=k3s-agent ;;
*) die "unknown command $1" ;;
esac
cat >/etc/systemd/system/$name.service <<UNIT
[Unit]
Description=Lightweight Kubernetes
Wants=network-online.target
After=network-online.target

[Install]
WantedBy=multi-user.target

[Service]
Type=notify
# What tells systemd that it is ready is a child of a shell.
NotifyAccess=all
KillMode=process
Delegate=yes
LimitNOFILE=1048576
TasksMax=infinity
TimeoutStartSec=0
Restart=always
RestartSec=5s
ExecStart=/usr/local/bin/k3s $1
UNIT
cat >/usr/local/bin/k3s-killall.sh <<'SCRIPT'
#!/bin/bash
. /usr/share/litelab-double/behind.sh
systemctl stop k3s k3s-agent 2>/dev/null
pkill -KILL -f '^/usr/share/litelab-double/upstream/bin/(containerd|etcd|flanneld)( |$)|^/run/litelab-double/'
sleep 0.2
awk '$5 ~ "^/(run/k3s|var/lib/kubelet|run/netns)/" { print $5 }' /proc/self/mountinfo | sort -r | xargs -r umount -l 2>/dev/null
remove_network
exit 0
SCRIPT
cat >/usr/local/bin/$name-uninstall.sh <<SCRIPT
#!/bin/bash
/usr/local/bin/k3s-killall.sh
systemctl disable $name 2>/dev/null
rm -f /etc/systemd/system/$name.service /usr/local/bin/k3s /usr/local/bin/k3s-killall.sh /usr/local/bin/$name-uninstall.sh
systemctl daemon-reload
rm -rf /etc/rancher/k3s /run/k3s /run/flannel /var/lib/rancher/k3s /run/litelab-double
SCRIPT
chmod 755 /usr/local/bin/k3s-killall.sh /usr/local/bin/$name-uninstall.sh
systemctl daemon-reload
[ "$INSTALL_K3S_SKIP_ENABLE" = true ] || systemctl enable -q $name
[ "$INSTALL_K3S_SKIP_START" = true ] || systemctl restart $name
