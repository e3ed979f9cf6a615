#!/bin/bash
# Ends the cluster and our own Docker engine. Caches stay: the next up.sh needs a minute.
# shellcheck source=env.sh
. "$(dirname "$0")/env.sh"
# shellcheck source=engine.sh
. "$KIND_DIR/engine.sh"
[ -d "$CACHE" ] || { say "there is no cluster"; exit; }
lock
use_engine
if [ -x "$BIN/kind" ] && { [ -e "$CACHE/made/cluster" ] || docker info > /dev/null 2>&1; }; then
  engine_up
  say "deleting the cluster"
  kind delete cluster --name $CLUSTER > "$CACHE/delete.log" 2>&1 || { cat "$CACHE/delete.log" >&2; die "kind could not delete the cluster"; }
  rm -f "$CACHE/made/cluster"
fi
engine_down
say "nothing of it runs any more"
