#!/bin/bash
# Builds openbourse/openbourse:dev, openbourse/postgresql:15 and openbourse/redis:7 and puts them into the nodes of the
# cluster. What has not changed is neither built nor loaded again. Prints each image with its id.
# shellcheck source=env.sh
. "$(dirname "$0")/env.sh"
# shellcheck source=engine.sh
. "$KIND_DIR/engine.sh"
lock
[ -e "$CACHE/made/cluster" ] || die "there is no cluster to load images into: run $KIND_DIR/up.sh"
engine_up
UV=${CACHE%/cluster}/bin/uv
[ -x "$UV" ] || UV=$(command -v uv) || die "uv is missing: run make install"
CONTEXT=$CACHE/context
OPENBOURSE=openbourse/openbourse:dev
POSTGRESQL=openbourse/postgresql:15
REDIS=openbourse/redis:7
cd "$KIND_DIR/../../.."
# As the Makefile has it: one for each checkout.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${CACHE%/cluster}/target/$(pwd -P | sha256sum | cut -c1-12)}

# The base has Debian 12 and Python 3.11: from the registry, or else made here and imported.
base_image() {
  if [ "$(way)" = stock ]; then echo "$PYTHON_IMAGE"; return; fi
  local name; name=openbourse/python:$DEBIAN-$(fingerprint "$KIND_DIR/versions.env")
  if ! docker image inspect "$name" > /dev/null 2>&1; then
    say "making the base image of our images"
    local root=$CACHE/python-root; rm -rf "$root"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$DEBIAN" "$root" > "$CACHE/debootstrap.log" 2>&1 ||
      { tail "$CACHE/debootstrap.log" >&2; die "debootstrap failed: are Debian's archives reachable?"; }
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale,info}/*
    tar -C "$root" -c . | docker import - "$name" > /dev/null
    rm -rf "$root"
  fi
  echo "$name"
}

sources() { # paths: a name for what git knows there, and what it would know
  git ls-files -z -co --exclude-standard -- "$@" | while IFS= read -r -d '' file; do [ ! -f "$file" ] || sha256sum "$file"; done | sort | sha256sum | cut -c1-12
}
made_from() { docker image inspect -f '{{index .Config.Labels "openbourse.dev/inputs"}}' "$1" 2> /dev/null || true; }

build() { # name, target, inputs
  docker build -q --network host --target "$2" --build-arg "BASE_IMAGE=$BASE" --label "openbourse.dev/inputs=$3" -t "$1" -f Dockerfile "$CONTEXT" \
    > "$CACHE/build.log" 2>&1 || { tail -n 30 "$CACHE/build.log" >&2; die "docker build of $1 failed; all of it is in $CACHE/build.log"; }
}

dependencies() { # the locked ones, as wheels
  local locked extras=() extra
  for extra in engine ledger gateway marketdata operator cli; do extras+=(--extra "$extra"); done
  mkdir -p "$CACHE/dependencies"
  "$UV" export -q --frozen --no-dev --no-emit-workspace --no-annotate --no-header "${extras[@]}" -o "$CACHE/requirements.new" > /dev/null
  locked=$(fingerprint "$CACHE/requirements.new")
  if [ ! -e "$CACHE/made/dependencies@$locked" ]; then
    say "getting the wheels of the locked dependencies"
    rm -rf "$CACHE/dependencies" && mkdir "$CACHE/dependencies"
    "$UV" run -q --no-project --python 3.11 --with pip python -m pip wheel -q --no-deps -r "$CACHE/requirements.new" -w "$CACHE/dependencies" > "$CACHE/wheels.log" 2>&1 ||
      { tail "$CACHE/wheels.log" >&2; die "a locked dependency could not be had as a wheel; all of it is in $CACHE/wheels.log"; }
    rm -f "$CACHE"/made/dependencies@* && touch "$CACHE/made/dependencies@$locked"
  fi
}

wheel() { # distribution, what it is made from
  local made; made=$CACHE/made/$1@$(sources "${@:2}")
  [ ! -e "$made" ] || return 0
  say "building the wheel of $1"
  rm -rf "$CACHE/wheels/$1"
  nice -n 5 "$UV" build -q --wheel --package "$1" --python 3.11 -o "$CACHE/wheels/$1" > "$CACHE/wheels.log" 2>&1 || { tail -n 30 "$CACHE/wheels.log" >&2; die "the wheel of $1 could not be built"; }
  rm -f "$CACHE/made/$1"@* && touch "$made"
}

openbourse() {
  local inputs; inputs=$(sources Dockerfile LICENSE README.md pyproject.toml uv.lock ledger operator workloads)-$BASE
  [ "$(made_from $OPENBOURSE)" != "$inputs" ] || return 0
  dependencies
  .ci/build-web
  wheel openbourse-engine workloads/engine workloads/contracts
  wheel openbourse LICENSE README.md pyproject.toml uv.lock ledger operator workloads
  mkdir -p "$CONTEXT/wheels"
  rm -rf "$CONTEXT"/wheels/* && mkdir "$CONTEXT/wheels/own"
  cp -rl "$CACHE/dependencies" "$CONTEXT/wheels/dependencies"
  ln "$CACHE"/wheels/*/*.whl "$CONTEXT/wheels/own/"
  say "building $OPENBOURSE"
  build $OPENBOURSE openbourse "$inputs"
}

platform() { # name, target of the Dockerfile and folder of gitops/platform
  local inputs; inputs=$(sources Dockerfile "gitops/platform/$2")-$BASE
  [ "$(made_from "$1")" != "$inputs" ] || return 0
  say "building $1"
  mkdir -p "$CONTEXT/gitops/platform"
  rm -rf "$CONTEXT/gitops/platform/$2" && cp -r "gitops/platform/$2" "$CONTEXT/gitops/platform/"
  build "$1" "$2" "$inputs"
}

# The nodes that get our images are the workers: the control plane takes no pods but its own. Which id an image has there
# is kept as a label of the image on the node, where it lives and dies with it.
load() {
  local nodes node image id missing=()
  mapfile -t nodes < <(docker ps --filter "label=io.x-k8s.kind.cluster=$CLUSTER" --filter label=io.x-k8s.kind.role=worker --format '{{.Names}}')
  for image in "$@"; do
    id=$(label_of "$image")
    for node in "${nodes[@]}"; do
      [ -n "$(on "$node" images ls -q "name==docker.io/$image,labels.\"openbourse.dev/id\"==$id")" ] || { missing+=("$image"); break; }
    done
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "loading ${missing[*]} into the nodes"
  kind load docker-image --name "$CLUSTER" --nodes "$(IFS=,; echo "${nodes[*]}")" "${missing[@]}" > "$CACHE/load.log" 2>&1 ||
    { tail "$CACHE/load.log" >&2; die "kind could not load the images; all of it is in $CACHE/load.log"; }
  for image in "${missing[@]}"; do
    for node in "${nodes[@]}"; do on "$node" images label "docker.io/$image" "openbourse.dev/id=$(label_of "$image")" > /dev/null; done
  done
}
label_of() { docker image inspect -f '{{slice .Id 7 19}}' "$1"; }
on() { docker exec "$1" ctr -n k8s.io "${@:2}" 2> "$CACHE/ctr.log" || { cat "$CACHE/ctr.log" >&2; die "node $1 does not answer: run $KIND_DIR/up.sh"; }; }

BASE=$(base_image)
platform $POSTGRESQL postgresql
platform $REDIS redis
openbourse
load $POSTGRESQL $REDIS $OPENBOURSE
for image in $OPENBOURSE $POSTGRESQL $REDIS; do echo "$image $(docker image inspect -f '{{.Id}}' "$image")"; done
say "the images are in the nodes"
