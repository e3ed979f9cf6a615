#!/bin/bash
# The pod network of one node: a point-to-point CNI configuration for its own pods, and a route to the pods of each
# other node. Follows the nodes of the cluster for as long as it runs; a node that comes back with another address is
# met again there.
set -euo pipefail
columns='NAME:.metadata.name,PODS:.spec.podCIDR,ADDRESS:.status.addresses[?(@.type=="InternalIP")].address'

configure() { # pods of this node
  cat > /etc/cni/net.d/.ptp <<JSON
{"cniVersion": "0.3.1", "name": "ptp", "plugins": [
  {"type": "ptp", "ipMasq": false, "mtu": 1500,
   "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam-state", "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": "$1"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
  mv /etc/cni/net.d/.ptp /etc/cni/net.d/10-ptp.conflist
}

follow() {
  local name pods address
  while read -r name pods address; do
    case "$pods $address" in *'<none>'*) continue;; esac
    if [ "$name" = "$NODE_NAME" ]; then configure "$pods"; else ip route replace "$pods" via "$address"; fi
  done
}

while true; do
  kubectl get nodes --watch --no-headers -o custom-columns="$columns" | follow || echo "the watch of the nodes ended with an error: beginning again"
  sleep 1
done
