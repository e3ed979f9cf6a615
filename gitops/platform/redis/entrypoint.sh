#!/bin/bash
# One Redis that counts for all gateways. Nothing of it is kept: a new one begins with no counts, and a gateway without
# it counts by itself. Its password goes from a file into a file in memory, never onto a command line.
set -euo pipefail
secrets=${REDIS_SECRETS:-/run/secrets/redis}   # the file password
tls=${REDIS_TLS:-/run/secrets/redis-tls}       # a mounted kubernetes.io/tls secret, if connections shall be encrypted
run=/run/redis

die() { echo "redis: $*" >&2; exit 1; }
[ -s "$secrets/password" ] || die "no password in $secrets/password: mount a secret with the key password there"
password=$(tr -d '\n' < "$secrets/password")
[[ $password =~ ^[A-Za-z0-9_-]{16,128}$ ]] || die "the password must be 16 to 128 letters, digits, - and _: it is also part of a URL"

umask 077
{
  echo "requirepass $password"
  echo "bind * -::*"
  echo "protected-mode yes"
  # Counts are of the last minutes and of the day: what is lost is one window.
  echo 'save ""'
  echo "appendonly no"
  echo "dir $run"
  echo "maxmemory ${REDIS_MAXMEMORY:-96mb}"
  # Counts that end soon go first.
  echo "maxmemory-policy volatile-ttl"
  echo "timeout 0"
  echo "tcp-keepalive 15"
  echo "enable-debug-command no"
  if [ -e "$tls/tls.key" ]; then
    echo "port 0"
    echo "tls-port 6379"
    echo "tls-cert-file $tls/tls.crt"
    echo "tls-key-file $tls/tls.key"
    echo "tls-auth-clients no"
  else
    echo "port 6379"
  fi
} > "$run/redis.conf"
# For the probe.
[ ! -e "$tls/tls.key" ] || touch "$run/is-tls"
exec redis-server "$run/redis.conf"
