#!/bin/bash
# Freezes the cluster's nodes, which take half a core also when nothing runs on them; up.sh wakes them.
# shellcheck source=env.sh
. "$(dirname "$0")/env.sh"
lock
use_engine
docker info > /dev/null 2>&1 || { say "there is no cluster"; exit; }
docker ps --filter "label=io.x-k8s.kind.cluster=$CLUSTER" --filter status=running --format '{{.Names}}' | while read -r node; do
  # A process that is in the kernel just then makes runc give up: those that are left take their half of it.
  docker pause "$node" > /dev/null || say "node $node could not be frozen and runs on"
done
say "the cluster sleeps; wake it with $KIND_DIR/up.sh"
