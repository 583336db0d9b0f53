#!/bin/bash
# After flannel has this node's subnet: the pods' network, as flannel's own CNI plugin would delegate it.
set -euo pipefail
set -a
# shellcheck disable=SC1091
. /run/flannel/subnet.env
set +a
# flannel writes the gateway's address with the mask; host-local wants the network's.
SUBNET=${FLANNEL_SUBNET/.1\//.0\/}
# A cluster that was replaced has given this node another subnet, perhaps: what is on the old one's bridge was of the old cluster.
had=$(ip -o -4 addr show dev cni0 2>/dev/null | awk '{ print $4; exit }') || true
[ -z "$had" ] || [ "$had" = "$FLANNEL_SUBNET" ] || ip link del cni0
mkdir -p /etc/cni/net.d
# A half-written file would be read: the rename makes it whole.
cat >/etc/cni/net.d/.10-litelab <<JSON
{
  "cniVersion": "1.0.0",
  "name": "litelab",
  "plugins": [
    {
      "type": "bridge", "bridge": "cni0", "mtu": $FLANNEL_MTU, "isDefaultGateway": true, "hairpinMode": true,
      "ipMasq": false,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "$SUBNET"}]], "routes": [{"dst": "$FLANNEL_NETWORK"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
JSON
mv /etc/cni/net.d/.10-litelab /etc/cni/net.d/10-litelab.conflist
