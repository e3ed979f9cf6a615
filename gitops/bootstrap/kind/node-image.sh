#!/bin/bash
# Our own kind node image, from Go modules and Debian packages alone. It has the shape of kind's stock image (the same
# files, default-cni.yaml and default-storage.yaml under /kind/manifests), so that kind uses both alike.
# shellcheck source=env.sh
. "$(dirname "$0")/env.sh"
lock
export DOCKER_HOST=$OWN_ENGINE
ROOT=$CACHE/rootfs
IMAGE=$(node_image)
PARTS=openbourse/kind-parts:1   # network and volumes of the nodes; its name is in node/default-*.yaml
BUILDER=openbourse-node-build

# Modules whose go.mod has local replacements cannot be installed by name: a module of ours requires them instead.
go_module() { # name, version
  mkdir -p "$CACHE/mod/$1" && cd "$CACHE/mod/$1"
  printf 'module openbourse.dev/%s\n\ngo %s\n' "$1" "$GO" > go.mod
  rm -f go.sum
}
failed() { tail "$1" >&2; die "$2 could not be built: is the Go module proxy reachable (go env GOPROXY)? All of it is in $1"; }

kubernetes() {
  [ -e "$CACHE/made/kubernetes@$KUBERNETES" ] && return
  say "building Kubernetes $KUBERNETES (8 to 10 minutes on 2 cores)"
  go_module kubernetes
  local source command version=k8s.io/component-base/version packages=()
  source=$(go mod download -json "k8s.io/kubernetes@$KUBERNETES" | jq -r .Dir)
  sed -nE 's/^\s+(k8s\.io\/[a-z0-9-]+) => .*/\1/p' "$source/go.mod" | sort -u |
    while read -r module; do echo "replace $module => $module v0.${KUBERNETES#v1.}"; done >> go.mod
  for command in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubeadm kubectl kubelet; do
    packages+=("k8s.io/kubernetes/cmd/$command")
  done
  go get -tool "${packages[@]/%/@$KUBERNETES}" > get.log 2>&1 || failed "$PWD/get.log" Kubernetes
  rm -rf "$CACHE/new" && mkdir "$CACHE/new"
  CGO_ENABLED=0 nice -n 5 go build -trimpath -o "$CACHE/new/" -ldflags "-s -w -X $version.gitVersion=$KUBERNETES -X $version.gitMajor=1 \
    -X $version.gitMinor=$(cut -d. -f2 <<< "$KUBERNETES") -X $version.gitTreeState=clean" "${packages[@]}" > build.log 2>&1 || failed "$PWD/build.log" Kubernetes
  gcc -static -Os -DVERSION=3.10 -o "$CACHE/new/pause" "$source/build/pause/linux/pause.c"
  mv "$CACHE"/new/* "$BIN/"
  rm -f "$CACHE"/made/kubectl@* && touch "$CACHE/made/kubernetes@$KUBERNETES"
}

etcd() {
  [ -e "$CACHE/made/etcd@$ETCD" ] && return
  say "building etcd $ETCD"
  go_module etcd
  go get -tool "go.etcd.io/etcd/server/v3@$ETCD" > get.log 2>&1 || failed "$PWD/get.log" etcd
  CGO_ENABLED=0 nice -n 5 go build -trimpath -ldflags '-s -w' -o "$CACHE/etcd.new" go.etcd.io/etcd/server/v3 > build.log 2>&1 || failed "$PWD/build.log" etcd
  mv "$CACHE/etcd.new" "$BIN/etcd" && touch "$CACHE/made/etcd@$ETCD"
}

# What kind's base image has: systemd and the tools of a node, from Debian, and kind's own files, from its Go module.
root_file_system() {
  say "making the node's root file system"
  rm -rf "$ROOT"
  debootstrap --variant=minbase --include=systemd,dbus,conntrack,iptables,nftables,iproute2,ethtool,mount,kmod,libseccomp2,pigz,ca-certificates,curl,jq,procps,hostname,socat,runc,containernetworking-plugins \
    "$DEBIAN" "$ROOT" > "$CACHE/debootstrap.log" 2>&1 || { tail "$CACHE/debootstrap.log" >&2; die "debootstrap failed: are Debian's archives reachable?"; }
  local files file mode; files=$(go mod download -json "sigs.k8s.io/kind@$KIND" | jq -r .Dir)/images/base/files
  (cd "$files" && find usr kind etc -type f) | while read -r file; do
    case $file in *bin/*) mode=755;; *) mode=644;; esac
    install -D -m $mode "$files/$file" "$ROOT/$file"
  done
  sed -i 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' "$ROOT/etc/containerd/config.toml"

  # Only the node's own units start.
  rm -rf "$ROOT"/lib/systemd/system/{multi-user,local-fs,basic}.target.wants/* "$ROOT"/etc/systemd/system/*.wants/* \
    "$ROOT"/lib/systemd/system/sockets.target.wants/*{udev,initctl}* "$ROOT"/lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service
  echo ReadKMsg=no >> "$ROOT/etc/systemd/journald.conf"
  ln -sf /usr/lib/systemd/systemd "$ROOT/sbin/init"
  systemctl --root="$ROOT" -q enable kubelet containerd undo-mount-hacks
  systemctl --root="$ROOT" -q mask systemd-binfmt

  install -d "$ROOT/etc/kubernetes/manifests" "$ROOT/opt/cni/bin"
  cp "$ROOT"/usr/lib/cni/{host-local,loopback,ptp,portmap} "$ROOT/opt/cni/bin/"
  install -m 755 "$KIND_DIR/node/oci-runtime.sh" "$ROOT/usr/local/sbin/runc"
  install -m 755 "$KIND_DIR/node/network.sh" "$ROOT/usr/local/bin/node-network"
  install -D -m 644 -t "$ROOT/kind/manifests" "$KIND_DIR"/node/default-*.yaml
  cp "$BIN"/{kubelet,kubeadm,kubectl} "$ROOT/usr/bin/"
  cp "$BIN"/{containerd,containerd-shim-runc-v2,ctr} "$ROOT/usr/local/bin/"
  printf %s "$KUBERNETES" > "$ROOT/kind/version"
  "$BIN/ctr" oci spec | jq '.hooks.createContainer += [{path: "/kind/bin/mount-product-files.sh"}] | del(.process.rlimits)' > "$ROOT/etc/containerd/cri-base.json"
  rm -rf "$ROOT"/var/cache/apt/* "$ROOT"/var/lib/apt/lists/* "$ROOT"/usr/share/{doc,man,locale,info}/*
}

image() { # name, base, binary, its path in the image, entrypoint if any
  local folder; folder=$(mktemp -d)
  install -m 755 "$3" "$folder/file"
  printf 'FROM %s\nCOPY file %s\n%s\n' "$2" "$4" "${5:+ENTRYPOINT [\"$5\"]}" > "$folder/Dockerfile"
  docker build -q -t "$1" "$folder" > "$CACHE/build.log" 2>&1 || { cat "$CACHE/build.log" >&2; die "docker build of $1 failed"; }
  rm -r "$folder"
}

# The images that a node must have before it can pull any: the control plane's, under the names that kubeadm asks for.
control_plane_images() {
  local name program names
  names=$("$BIN/kubeadm" config images list --kubernetes-version "$KUBERNETES" 2> "$CACHE/kubeadm.log") || die "kubeadm does not list its images: see $CACHE/kubeadm.log"
  while read -r name; do
    program=${name##*/}; program=${program%:*}
    case $program in
      pause) continue;;   # containerd's configuration pins another, below
      kube-proxy) image "$name" openbourse/kind-tools:1 "$BIN/$program" "/usr/local/bin/$program";;
      coredns) image "$name" scratch "$BIN/$program" "/$program" "/$program";;
      *) image "$name" scratch "$BIN/$program" "/usr/local/bin/$program";;
    esac
    echo "$name"
  done <<< "$names"
  name=$(sed -n 's/.*sandbox_image = "\(.*\)"/\1/p' "$ROOT/etc/containerd/config.toml")
  image "$name" scratch "$BIN/pause" /pause /pause
  image $PARTS openbourse/kind-tools:1 "$BIN/local-path-provisioner" /usr/local/bin/local-path-provisioner
  echo "$name" $PARTS
}

kind_node_image() {
  docker image inspect "$IMAGE" > /dev/null 2>&1 && return
  root_file_system
  say "making the node image $IMAGE"
  tar -C "$ROOT" -c . | docker import - openbourse/kind-root:1 > /dev/null
  tar -C "$ROOT" -c --exclude=./usr/bin/kube{let,adm} --exclude=./usr/local/bin/c{ontainerd\*,tr} --exclude=./usr/lib/systemd . | docker import - openbourse/kind-tools:1 > /dev/null
  printf 'FROM openbourse/kind-root:1\nENV container=docker\nSTOPSIGNAL SIGRTMIN+3\n' | docker build -q -t openbourse/kind-base:1 - > "$CACHE/build.log" 2>&1
  local images; images=$(control_plane_images)
  docker rm -f $BUILDER > /dev/null 2>&1 || true
  docker run -d --name $BUILDER --privileged --entrypoint=sleep openbourse/kind-base:1 infinity > /dev/null
  docker exec -d $BUILDER containerd
  for _ in $(seq 60); do docker exec $BUILDER ctr version > /dev/null 2>&1 && break; sleep 0.5; done
  # shellcheck disable=SC2086  # one word for each image
  docker save $images | docker exec -i $BUILDER ctr --namespace=k8s.io images import --label=io.cri-containerd.pinned=pinned --all-platforms --no-unpack --digests - > "$CACHE/import.log" 2>&1 ||
    { tail "$CACHE/import.log" >&2; die "the images could not be put into the node image"; }
  docker exec $BUILDER sh -c 'kill $(pidof containerd); while pidof containerd > /dev/null; do sleep 0.1; done'
  docker commit --change 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' $BUILDER "$IMAGE" > /dev/null
  docker rm -f $BUILDER > /dev/null
  # Earlier ones; one that a cluster still runs on stays until the next time.
  docker images --format '{{.Repository}}:{{.Tag}}' openbourse/kind-node | grep -vxF "$IMAGE" | xargs -r docker rmi > /dev/null 2>&1 || true
  docker image prune -f > /dev/null
}

kubernetes
etcd
kind_node_image
