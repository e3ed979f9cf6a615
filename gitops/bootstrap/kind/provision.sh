#!/bin/bash
# Gets everything that the cluster is made of, once. Chooses the way: kind's stock node image where a Docker engine can
# pull it, and otherwise an engine and a node image of our own, from Go modules and Debian packages (15 minutes on 2 cores).
# shellcheck source=env.sh
. "$(dirname "$0")/env.sh"
# shellcheck source=engine.sh
. "$KIND_DIR/engine.sh"
lock

choose_way() {
  local wanted=${OPENBOURSE_CLUSTER_WAY:-}
  if [ -z "$wanted" ]; then
    if ! docker info > /dev/null 2>&1; then
      wanted=own
    elif docker image inspect "$KIND_NODE" > /dev/null 2>&1; then
      wanted=stock
    else
      say "asking the Docker engine for kind's stock node image"
      if timeout 600 docker pull -q "$KIND_NODE" > "$CACHE/pull.log" 2>&1; then wanted=stock; else wanted=own; fi
    fi
  fi
  if [ "$wanted" != "$(way)" ]; then
    case $wanted in
      stock) say "using the machine's Docker engine and kind's stock node image";;
      own) say "no Docker engine that can pull $KIND_NODE: building Kubernetes and the node image here";;
      *) die "OPENBOURSE_CLUSTER_WAY=$wanted: say stock or own, or leave it unset";;
    esac
    echo "$wanted" > "$CACHE/way"
  fi
}

debian_packages() {
  local missing=() command
  for command in dockerd:docker.io docker:docker.io runc:runc debootstrap:debootstrap jq:jq ip:iproute2 iptables:iptables gcc:gcc; do
    command -v "${command%:*}" > /dev/null || missing+=("${command#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get > /dev/null || die "missing: ${missing[*]}; this machine has no apt-get to install them with"
  say "installing Debian packages: ${missing[*]}"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" libc6-dev; } \
    > "$CACHE/apt.log" 2>&1 || { tail "$CACHE/apt.log" >&2; die "apt-get failed: are Debian's archives reachable? All of it is in $CACHE/apt.log"; }
}

# A Go program: name, package, version.
go_program() {
  [ -e "$CACHE/made/$1@$3" ] && [ -x "$BIN/$1" ] && return
  say "building $1 $3"
  rm -rf "$CACHE/new" && mkdir "$CACHE/new"
  local go=(env "GOBIN=$CACHE/new" CGO_ENABLED=0 go)
  if ! command -v go > /dev/null; then
    go=(docker run --rm -u "$(id -u):$(id -g)" -v "$CACHE/new:/new" -v "$CACHE/go:/go" -e HOME=/go -e GOBIN=/new -e CGO_ENABLED=0 "golang:$GO" go)
    mkdir -p "$CACHE/go"
  fi
  nice -n 5 "${go[@]}" install -trimpath -ldflags '-s -w' "$2@$3" > "$CACHE/$1.log" 2>&1 ||
    { tail "$CACHE/$1.log" >&2; die "$1 could not be built: is the Go module proxy reachable (go env GOPROXY)?"; }
  mv "$CACHE/new/$1" "$BIN/$1" && touch "$CACHE/made/$1@$3"
}

stock_kubectl() {
  [ -e "$CACHE/made/kubectl@$KIND_NODE" ] && return
  docker run --rm --entrypoint cat "$KIND_NODE" /usr/bin/kubectl > "$CACHE/kubectl.new"
  chmod 755 "$CACHE/kubectl.new" && mv "$CACHE/kubectl.new" "$BIN/kubectl"
  rm -f "$CACHE"/made/kubernetes@* && touch "$CACHE/made/kubectl@$KIND_NODE"
}

choose_way
if [ "$(way)" = own ]; then
  [ "$(id -u)" = 0 ] || die "our own cluster needs root for its Docker engine: run as root, or start a Docker engine that can pull $KIND_NODE"
  command -v go > /dev/null || die "our own cluster is built from Go modules: install Go $GO, or start a Docker engine that can pull $KIND_NODE"
  printf '%s\n%s\n' "go$GO" "$(go env GOVERSION)" | sort -CV || die "Go $GO or newer is needed, this is $(go env GOVERSION)"
  debian_packages
fi
go_program kind sigs.k8s.io/kind "$KIND"
go_program helm helm.sh/helm/v4/cmd/helm "$HELM"
if [ "$(way)" = own ]; then
  for part in containerd containerd-shim-runc-v2 ctr; do go_program $part github.com/containerd/containerd/v2/cmd/$part "$CONTAINERD"; done
  go_program coredns github.com/coredns/coredns "$COREDNS"
  go_program local-path-provisioner github.com/rancher/local-path-provisioner "$LOCAL_PATH"
  engine_up
  "$KIND_DIR/node-image.sh"
else
  stock_kubectl
fi
say "everything is there: $(way) way, node image $(node_image)"
