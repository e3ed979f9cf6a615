#!/bin/bash
# One of two PostgreSQL servers, each with a volume of its own: the primary, or the standby for which its commits wait.
# POSTGRES_PRIMARY says which one, and the data must agree: they are replaced only by those of a server that was promoted
# after them, and no database is made while the other has one. It never promotes itself: promote-postgresql.sh does.
set -euo pipefail
secrets=${POSTGRES_SECRETS:-/run/secrets/postgresql}   # the files password (of the superuser) and replication-password
tls=${POSTGRES_TLS:-/run/secrets/postgresql-tls}       # a mounted kubernetes.io/tls secret, if connections shall be encrypted
database=${POSTGRES_DATABASE:-openbourse}
service=${POSTGRES_SERVICE:-postgresql}                # headless: each pod has a name below it
run=/run/postgresql
member=$HOSTNAME                                       # NAME-0 or NAME-1, as a StatefulSet calls them
other=${member%-*}-$((1 - ${member##*-}))
primary=${POSTGRES_PRIMARY:-${member%-*}-0}
OTHER_WITHIN_S=90
# The first process of a container is not ended by a signal that it does not name.
trap 'exit 130' INT TERM

say() { echo "$member: $*" >&2; }
die() { say "$*"; exit 1; }
secret() {
  [ -s "$secrets/$1" ] || die "no password in $secrets/$1: mount a secret with the keys password and replication-password there"
  tr -d '\n' < "$secrets/$1"
}

# Words of its own for a file that libpq reads.
escaped=$(secret replication-password | sed 's/[\\:]/\\&/g')
(umask 077; printf '*:*:*:standby:%s\n' "$escaped" > "$run/pgpass")
from_other="host=$other.$service port=5432 user=standby passfile=$run/pgpass connect_timeout=3 application_name=$member"
[ ! -e "$tls/tls.key" ] || from_other+=" sslmode=require"

ask_other() { psql "$from_other $1" --no-psqlrc -qtA -F ' ' -c "$2" 2> "$run/why"; }
other_takes_writes() { [ "$(ask_other dbname=postgres 'SELECT pg_is_in_recovery()')" = f ]; }
mine() { pg_controldata -D "$PGDATA" | sed -n "s/^$1: *//p"; }

make_database() {
  # Made beside its place and moved there: a pod killed on the way begins again, and never serves half a database.
  local replication; replication=$(secret replication-password)
  rm -rf "$PGDATA.new"
  initdb --pgdata "$PGDATA.new" --username postgres --pwfile <(secret password) --auth scram-sha-256 \
    --encoding UTF8 --locale C.UTF-8 --data-checksums
  printf '%s\n' "CREATE DATABASE \"$database\"" "CREATE ROLE standby REPLICATION LOGIN PASSWORD '${replication//\'/\'\'}'" |
    postgres --single -D "$PGDATA.new" postgres
  sync -f "$PGDATA.new"
  mv "$PGDATA.new" "$PGDATA"
}

# A copy of the other, in place of what is here: nothing, or what is older than its promotion.
copy_other() {
  local end=$((EPOCHSECONDS + OTHER_WITHIN_S)) identity timeline
  until other_takes_writes; do
    [ $EPOCHSECONDS -lt $end ] || die "$other does not take writes yet: $(grep . "$run/why" || echo it follows)"
    sleep 0.5
  done
  if [ -e "$PGDATA/PG_VERSION" ]; then
    identity=$(ask_other "dbname=postgres replication=true" IDENTIFY_SYSTEM)
    timeline=$(cut -d' ' -f2 <<< "$identity")
    [ "${identity%% *}" = "$(mine 'Database system identifier')" ] || die "$other has another database than this volume: one of them is to be kept, and a person must say which"
    [ "$timeline" -gt "$(mine "Latest checkpoint's TimeLineID")" ] || die "$other was not promoted after this one was the primary: the data here may be the newer ones, and are kept"
    say "$other was promoted: what is here is replaced by a copy of it"
  fi
  rm -rf "$PGDATA.new"
  # One that is left of an earlier copy may have lost what it kept.
  ask_other "dbname=postgres replication=true" "DROP_REPLICATION_SLOT ${member//-/_}" > /dev/null || true
  ask_other "dbname=postgres replication=true" "CREATE_REPLICATION_SLOT ${member//-/_} PHYSICAL RESERVE_WAL" > /dev/null ||
    grep -q 'already exists' "$run/why" || die "no slot at $other: $(cat "$run/why")"
  pg_basebackup --dbname "$from_other" --pgdata "$PGDATA.new" --wal-method stream --checkpoint fast --slot "${member//-/_}"
  touch "$PGDATA.new/standby.signal"
  sync -f "$PGDATA.new"
  rm -rf "$PGDATA.old"
  [ ! -e "$PGDATA" ] || mv "$PGDATA" "$PGDATA.old"
  mv "$PGDATA.new" "$PGDATA"
  rm -rf "$PGDATA.old"
}

if [ -e "$PGDATA/standby.signal" ]; then
  say "the standby of $other"
elif [ "$member" != "$primary" ]; then
  copy_other
elif [ ! -e "$PGDATA/PG_VERSION" ]; then
  ! ask_other dbname=postgres 'SELECT 1' > /dev/null || die "this volume is empty, and $other has the database: promote $other"
  make_database
elif other_takes_writes; then
  die "$other takes writes, and is not said to be the primary: a person must say which one is"
fi

connection=host encryption=(-c ssl=off)
if [ -e "$tls/tls.key" ]; then
  connection=hostssl encryption=(-c ssl=on -c "ssl_cert_file=$tls/tls.crt" -c "ssl_key_file=$tls/tls.key")
fi
printf '%s\n' 'local all all scram-sha-256' "$connection all all all scram-sha-256" "$connection replication standby all scram-sha-256" \
  > "$run/pg_hba.conf"

# Both have the settings of both, for when they change places. A standby that is gone is noticed within ten seconds, so that
# the next one gets its slot; what it has not seen yet is kept for it up to half of the volume.
exec postgres -D "$PGDATA" -c "listen_addresses=*" -c "unix_socket_directories=$run" -c "hba_file=$run/pg_hba.conf" \
  -c "cluster_name=$member" -c "synchronous_standby_names=ANY 1 (\"$other\")" \
  -c "primary_conninfo=$from_other" -c "primary_slot_name=${member//-/_}" -c max_slot_wal_keep_size=512MB \
  -c wal_receiver_status_interval=1s -c wal_retrieve_retry_interval=500ms -c wal_sender_timeout=10s -c wal_receiver_timeout=10s \
  "${encryption[@]}" "$@"
