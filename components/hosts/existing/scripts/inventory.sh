# shellcheck shell=bash
# inventory, on a host and by root: all that a lab could change there, one line a thing, sorted. Journals, caches and what
# programs write of themselves are left out.
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# What kubelets and flannel set for themselves.
SYSCTLS='vm.overcommit_memory kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes
  net.ipv4.ip_forward net.ipv4.conf.all.route_localnet net.ipv4.conf.all.forwarding net.ipv4.conf.default.forwarding
  net.ipv6.conf.all.forwarding net.bridge.bridge-nf-call-iptables net.bridge.bridge-nf-call-ip6tables
  net.netfilter.nf_conntrack_max net.netfilter.nf_conntrack_tcp_be_liberal
  net.netfilter.nf_conntrack_tcp_timeout_established net.netfilter.nf_conntrack_tcp_timeout_close_wait'

sysctls() { for key in $SYSCTLS; do ! value=$(sysctl -n "$key" 2>/dev/null) || printf '%s=%s\n' "$key" "$value"; done; }

inventory() (
  set +eo pipefail # what a host does not have is no failure
  {
    find /etc /usr/local -xdev -type f -exec sha256sum {} + 2>/dev/null | sed 's/^\([0-9a-f]\{12\}\)[0-9a-f]* [ *]/file \1 /'
    find /etc /usr/local -xdev -type l -printf 'link %p -> %l\n' 2>/dev/null
    find /etc /usr/local /opt /root /home -xdev -maxdepth 3 -type d -printf 'folder %p\n' 2>/dev/null
    find /opt -xdev ! -type d -printf 'file %p\n' 2>/dev/null
    find /var/lib /usr/libexec -xdev -mindepth 1 -maxdepth 2 -printf 'path %p\n' 2>/dev/null
    find /var/log /run / /var/lib/containerd /var/lib/kubelet -xdev -mindepth 1 -maxdepth 1 -printf 'path %p\n' 2>/dev/null
    # Which of them are enabled is in /etc's links; systemctl would take a third of a second to say it.
    find /usr/lib/systemd/system /lib/systemd/system /run/systemd/system -xdev -maxdepth 1 -name '*.*' -printf 'unit-file %f\n' 2>/dev/null
    systemctl list-units --no-legend --no-pager --plain --type=service --state=active 2>/dev/null | awk '{ print "unit", $1 }' |
      grep -vE ' (user@|user-runtime-dir@|systemd-(tmpfiles-clean|hostnamed|timedated|localed))' || true
    dpkg-query -W -f 'package ${Package} ${Version}\n' 2>/dev/null || true
    rpm -qa --qf 'package %{NAME} %{VERSION}-%{RELEASE}\n' 2>/dev/null || true
    snap list 2>/dev/null | awk 'NR > 1 { print "snap", $1, $3 }'
    for family in iptables ip6tables; do
      # A chain of the kernel's own with nothing in it and its usual policy is no rule.
      "$family-save" 2>/dev/null | awk -v f="$family" '/^\*/ { t = substr($1, 2) } /^-A/ { print "rule", f, t, $0 } /^:/ && $2 != "ACCEPT" { print "chain", f, t, $1, $2 }'
    done
    ip -o link show 2>/dev/null | awk '{ sub(/[:@].*/, "", $2); print "interface", $2 }'
    ip -4 route show table main 2>/dev/null | sed 's/^/route /; s/ *expires [^ ]*//'
    ip netns list 2>/dev/null | awk '{ print "namespace", $1 }'
    awk '{ print "mount", $5 }' /proc/self/mountinfo | grep -vE '^mount /run/(user|credentials)/' || true
    ss -Htuln 2>/dev/null | awk '{ print "listens", $1, $5 }' | grep -vE '^listens udp \S*:(68|323|546|5353)$' || true
    sysctls | sed 's/^/sysctl /'
  } | grep -vE ' /(etc/(mtab|resolv\.conf|\.pwd\.lock|adjtime)|run/(litelab|xtables\.lock|utmp|sudo|user|initctl|motd.*)|var/lib/(litelab|sudo|systemd/(timers|random-seed|linger.*|timesync)|logrotate|dhcp|NetworkManager|apt/.*|dpkg/.*|dbus/.*|private))(/|$| )' | sort -u
)
