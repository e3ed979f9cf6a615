#!/bin/bash
# Where the cluster's parts are. Run, it prints the exports of a shell in which kubectl, helm, kind and docker reach
# the project's cluster: eval "$(gitops/bootstrap/kind/env.sh)". The other scripts source it, and share its words.
set -euo pipefail
shopt -s inherit_errexit
KIND_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions.env
. "$KIND_DIR/versions.env"
CACHE=${OPENBOURSE_CACHE:-$HOME/.cache/openbourse}/cluster
BIN=$CACHE/bin
export CLUSTER=openbourse
OWN_ENGINE=unix://$CACHE/docker.sock
export KUBECONFIG=$CACHE/kubeconfig PATH=$BIN:$PATH

# A shell made by an earlier version of these exports still names our engine: that is not the engine of the machine.
if [ "${DOCKER_HOST:-}" = "$OWN_ENGINE" ]; then unset DOCKER_HOST; fi

export OPENBOURSE_STARTED=${OPENBOURSE_STARTED:-$EPOCHSECONDS}
say() { printf '[%4d s] %s\n' $((EPOCHSECONDS - OPENBOURSE_STARTED)) "$*" >&2; }
die() { printf '[%4d s] error: %s\n' $((EPOCHSECONDS - OPENBOURSE_STARTED)) "$*" >&2; exit 1; }

# One call at a time; a script that another one of ours calls goes on under its caller's lock.
lock() {
  [ "${OPENBOURSE_LOCKED:-}" != "$CACHE" ] || return 0
  mkdir -p "$BIN" "$CACHE/made"
  exec 9> "$CACHE/lock"
  if ! flock -n 9; then
    say "another call is at work on $CACHE: waiting for it"
    flock -w 2400 9 || die "it did not end within 40 minutes: see who holds $CACHE/lock (fuser $CACHE/lock)"
  fi
  export OPENBOURSE_LOCKED=$CACHE
}

# stock: the machine's Docker engine and kind's own node image. own: our engine and a node image of our making.
way() { cat "$CACHE/way" 2>/dev/null || true; }
use_engine() { if [ "$(way)" = own ]; then export DOCKER_HOST=$OWN_ENGINE; fi; }

# What a result was made from: a name for it that changes with the contents of the files given.
fingerprint() { sha256sum "$@" | cut -d' ' -f1 | sha256sum | cut -c1-12; }
node_image() {
  case $(way) in
    stock) echo "$KIND_NODE";;
    own) echo "openbourse/kind-node:$KUBERNETES-$(fingerprint "$KIND_DIR"/versions.env "$KIND_DIR"/node-image.sh "$KIND_DIR"/node/*)";;
  esac
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  use_engine
  [ -n "$(way)" ] || say "no cluster has been made yet: run $KIND_DIR/up.sh"
  for name in ${DOCKER_HOST:+DOCKER_HOST} KUBECONFIG PATH; do printf 'export %s=%q\n' "$name" "${!name}"; done
fi
