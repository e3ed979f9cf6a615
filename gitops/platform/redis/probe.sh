#!/bin/bash
# Whether it answers: a frozen one still takes connections.
set -euo pipefail
options=()
# Its own, by a name that the certificate need not have.
[ ! -e /run/redis/is-tls ] || options+=(--tls --insecure)
REDISCLI_AUTH=$(tr -d '\n' < "${REDIS_SECRETS:-/run/secrets/redis}/password")
export REDISCLI_AUTH
[ "$(timeout 2 redis-cli "${options[@]}" ping)" = PONG ]
