#!/bin/bash
# Our own Docker engine, for machines that have none that can pull images. Sourced after env.sh.
# Root, state and socket lie in the cache; the machine's own engine, if any, is never touched.

engine_pid() { # of our dockerd, if it lives
  local pid; pid=$(cat "$CACHE/dockerd.pid" 2>/dev/null) || return 1
  tr '\0' ' ' 2>/dev/null < "/proc/$pid/cmdline" | grep -qF -- "--pidfile $CACHE/dockerd.pid" && echo "$pid"
}

engine_up() {
  use_engine
  docker info > /dev/null 2>&1 && return
  [ "$(way)" = own ] || die "the Docker engine no longer answers: start it, or remove $CACHE/way to let the project bring its own"
  [ ${#CACHE} -le 70 ] || die "the path $CACHE is too long for the engine's sockets: set OPENBOURSE_CACHE to a shorter one"
  say "starting our own Docker engine"
  engine_pid > /dev/null || rm -f "$CACHE/dockerd.pid"
  install -m 755 "$KIND_DIR/node/oci-runtime.sh" "$CACHE/oci-runtime"
  # Debian's dockerd with Debian's containerd: the one in the cache is for the nodes.
  PATH=/usr/sbin:/usr/bin:/sbin:/bin setsid nohup dockerd --data-root "$CACHE/docker" --exec-root "$CACHE/docker-exec" -H "$OWN_ENGINE" --pidfile "$CACHE/dockerd.pid" \
    --add-runtime "trimmed=$CACHE/oci-runtime" --default-runtime trimmed > "$CACHE/dockerd.log" 2>&1 < /dev/null 9>&- &
  for _ in $(seq 120); do
    ! docker info > /dev/null 2>&1 || return 0
    sleep 0.5
  done
  tail -n 20 "$CACHE/dockerd.log" >&2
  die "dockerd did not answer within 60 s; its last words are above, all of them in $CACHE/dockerd.log"
}

engine_down() {
  local pid; pid=$(engine_pid) || return 0
  say "stopping our own Docker engine"
  kill "$pid"
  for _ in $(seq 120); do
    [ -e "/proc/$pid" ] || return 0
    sleep 0.5
  done
  die "dockerd ($pid) did not end within 60 s: see $CACHE/dockerd.log"
}
