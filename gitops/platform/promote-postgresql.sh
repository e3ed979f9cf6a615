#!/bin/bash
# The standby of gitops/platform/postgresql.yaml becomes the primary, after the old one was made sure to be none. Each step
# comes after the one before it has been seen to be done, and any of them may be the last: called again, it goes on.
set -euo pipefail
shopt -s inherit_errexit
OLD_ENDS_S=60
IN_SYNC_S=300
WORD=postgresql-primary
SERVICE=postgresql

usage() {
  cat << END
usage: promote-postgresql.sh [--namespace NAMESPACE] [--the-old-node-is-off] postgresql-0|postgresql-1

Makes the standby that is named the primary:
  1. it is ready and has a database;
  2. the ConfigMap $WORD names it: from here on the old primary comes back as its standby, whenever it does;
  3. the pod of the old primary is gone. Where its node does not answer, this ends the call, and nothing is promoted;
  4. the standby is promoted: clients whose address names both servers find it by themselves;
  5. the old primary has copied it and is in sync. Commits wait until then.

  --the-old-node-is-off   for a node that is lost: you have seen to it that nothing runs there any more. The old primary's
                          pod is no longer waited for, its volume is given up, and its node is cordoned: it gets a new
                          volume on another one.
                          Refused while the old primary still answers.

for example, when postgresql-0 is the primary and its node is lost and switched off:
  gitops/platform/promote-postgresql.sh --namespace demo --the-old-node-is-off postgresql-1
END
}
say() { printf '[%3d s] %s\n' $((EPOCHSECONDS - STARTED)) "$*" >&2; }
die() { say "error: $*"; exit 1; }
STARTED=$EPOCHSECONDS

namespace=() is_off='' new=''
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0;;
    --namespace | -n) [ $# -ge 2 ] || die "--namespace wants a name: see --help"; namespace=(--namespace "$2"); shift;;
    --the-old-node-is-off) is_off=yes;;
    postgresql-0 | postgresql-1) [ -z "$new" ] || die "one server can be the primary, not $new and $1: see --help"; new=$1;;
    *) die "$1 is no server and no option; there are postgresql-0, postgresql-1, --namespace, --the-old-node-is-off: see --help";;
  esac
  shift
done
[ -n "$new" ] || die "which one shall be the primary? postgresql-0 or postgresql-1: see --help"
old=postgresql-$((1 - ${new##*-}))

k() { kubectl "${namespace[@]}" --request-timeout=20s "$@"; }
in_new() { timeout 60 kubectl "${namespace[@]}" exec "$new" -- "$@"; }
# shellcheck disable=SC2016 # expanded in the pod
query() { in_new sh -c 'PGPASSWORD=$(cat /run/secrets/postgresql/password) exec psql -h /run/postgresql -U postgres --no-psqlrc -qtAc "$0"' "$1"; }

# 1
k wait --for=condition=Ready "pod/$new" --timeout=10s > /dev/null || die "$new is not ready: what it has is not known, and it is not promoted"
follows=$(query 'SELECT pg_is_in_recovery()')

# 2
named=$(k get configmap "$WORD" --ignore-not-found -o 'jsonpath={.data.primary}')
if [ "${named:-postgresql-0}" != "$new" ]; then
  [ "$follows" = t ] || die "$new takes writes, and ${named:-postgresql-0} is said to be the primary: a person must see which one has what was settled"
  k create configmap "$WORD" --from-literal="primary=$new" --dry-run=client -o yaml | k apply -f - > /dev/null
  say "$new is said to be the primary"
fi

# 3: whatever pod is there may have begun before that was said.
gone=$(k get pod "$old" --ignore-not-found -o 'jsonpath={.metadata.uid}')
if [ "$follows" = t ] && [ -n "$gone" ]; then
  if [ -n "$is_off" ]; then
    ! in_new pg_isready --quiet --host "$old.$SERVICE" --timeout 3 2> /dev/null || die "$old still answers: its node is not off"
    node=$(k get pod "$old" -o 'jsonpath={.spec.nodeName}')
    if [ -n "$node" ]; then
      k cordon "$node" > /dev/null
      say "nothing new begins on $node: kubectl uncordon $node when it is well again"
    fi
    k delete pvc "data-$old" --ignore-not-found --wait=false > /dev/null
    k delete pod "$old" --ignore-not-found --grace-period=0 --force --wait=false > /dev/null 2>&1
  else
    k delete pod "$old" --ignore-not-found --grace-period=10 --wait=false > /dev/null
  fi
  end=$((EPOCHSECONDS + OLD_ENDS_S))
  while [ "$(k get pod "$old" --ignore-not-found -o 'jsonpath={.metadata.uid}')" = "$gone" ]; do
    [ $EPOCHSECONDS -lt $end ] || die "$old does not end: see kubectl get pod $old -o wide. If its node is lost, see to it that it is off, and call this again with --the-old-node-is-off. Nothing was promoted"
    sleep 0.5
  done
  say "the old primary is gone"
fi

# 4
if [ "$follows" = t ]; then
  # shellcheck disable=SC2016 # expanded in the pod
  in_new sh -c 'pg_ctl promote --wait --timeout=50 --pgdata "$PGDATA"' > /dev/null || die "$new was not promoted: see kubectl logs $new, and call this again"
  say "$new takes writes"
fi

# 5
end=$((EPOCHSECONDS + IN_SYNC_S))
until [ "$(query "SELECT count(*) FROM pg_stat_replication WHERE application_name = '$old' AND sync_state IN ('sync', 'quorum')")" = 1 ]; do
  [ $EPOCHSECONDS -lt $end ] || die "$old is not in sync with $new, so commits wait: see kubectl describe pod $old, and kubectl logs $old"
  sleep 0.5
done
say "$old is its standby, in sync"
