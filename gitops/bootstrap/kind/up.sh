#!/bin/bash
# A four-node Kubernetes that is up and ready: made if there is none, repaired if it stands still (a node killed or
# paused, the engine ended, the machine booted anew), left alone if it lives. KUBECONFIG and PATH of it: env.sh.
# shellcheck source=env.sh
. "$(dirname "$0")/env.sh"
# shellcheck source=engine.sh
. "$KIND_DIR/engine.sh"
lock
NODE_PORT=${OPENBOURSE_NODE_PORT:-18080}   # of this machine, and the next one: kind.yaml says 18080 and 18081
MADE=$CACHE/made/cluster   # holds what the cluster was made from; written last

wanted() { echo "$(node_image) $(fingerprint "$KIND_DIR/kind.yaml") $NODE_PORT"; }
config() { sed "s/hostPort: 18080/hostPort: $NODE_PORT/; s/hostPort: 18081/hostPort: $((NODE_PORT + 1))/" "$KIND_DIR/kind.yaml"; }
nodes() { docker ps -a --filter "label=io.x-k8s.kind.cluster=$CLUSTER" --format '{{.State}} {{.Names}}'; }
ready() { kubectl wait --for=condition=Ready nodes --all --timeout="$1" > /dev/null 2>&1; }
lives() {
  use_engine
  [ "$(cat "$MADE" 2>/dev/null)" = "$(wanted)" ] && [ "$(nodes 2>/dev/null | grep -c '^running ')" = 4 ] && ready 3s
}

# After a start the API server is away for a while, and then knows of the nodes only what they last told it: so each
# kubelet is asked itself.
answers() {
  local node
  kubectl get --raw /readyz --request-timeout=2s > /dev/null 2>&1 || return 1
  while read -r _ node; do
    timeout 5 docker exec "$node" curl -sf -m 2 http://127.0.0.1:10248/healthz > /dev/null 2>&1 < /dev/null || return 1
  done <<< "$(nodes)"
}
wait_until_it_serves() {
  local end=$((EPOCHSECONDS + 120))
  until answers; do
    [ $EPOCHSECONDS -lt $end ] || return 1
    sleep 0.5
  done
  ready 120s &&
    kubectl -n kube-system rollout status deployment/coredns --timeout=60s > /dev/null &&
    kubectl -n local-path-storage rollout status deployment/local-path-provisioner --timeout=60s > /dev/null
}

repair() {
  [ "$(cat "$MADE" 2>/dev/null)" = "$(wanted)" ] || return 1
  say "waking the cluster's nodes"
  local state name
  nodes | while read -r state name; do
    case $state in paused) docker unpause "$name" > /dev/null;; running) ;; *) docker start "$name" > /dev/null;; esac
  done
  wait_until_it_serves || { say "they do not get ready: making the cluster anew"; return 1; }
}

make() {
  rm -f "$MADE" "$KUBECONFIG.lock"   # kind leaves its lock behind when it is interrupted; ours is held
  kind delete cluster --name $CLUSTER > /dev/null 2>&1 || true
  ! (exec 3<> /dev/tcp/127.0.0.1/"$NODE_PORT") 2>/dev/null || die "port $NODE_PORT of 127.0.0.1 is taken: end what listens there (ss -ltnp 'sport = :$NODE_PORT'), or name another one in OPENBOURSE_NODE_PORT"
  say "making the cluster: four nodes of $(node_image)"
  kind create cluster --name $CLUSTER --image "$(node_image)" --config <(config) > "$CACHE/create.log" 2>&1 ||
    { tail -n 30 "$CACHE/create.log" >&2; die "kind could not make the cluster; all of it is in $CACHE/create.log"; }
  wait_until_it_serves || { kubectl get nodes,pods -A >&2; die "the cluster was made but does not get ready; what it looks like is above"; }
  wanted > "$MADE.new" && mv "$MADE.new" "$MADE"
}

if lives; then say "the cluster is up"; exit; fi
"$KIND_DIR/provision.sh"
engine_up
repair || make
say "the cluster is up; a shell for it: eval \"\$($KIND_DIR/env.sh)\""
