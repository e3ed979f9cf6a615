#!/bin/bash
# PostgreSQL on a volume: makes the database when the volume is empty, then becomes the server. The password of the
# superuser is read from a file when the database is made, and never again.
set -euo pipefail
password=${POSTGRES_PASSWORD_FILE:-/run/secrets/postgresql/password}
database=${POSTGRES_DATABASE:-openbourse}
tls=${POSTGRES_TLS:-/run/secrets/postgresql-tls}   # a mounted kubernetes.io/tls secret, if connections shall be encrypted

if [ ! -e "$PGDATA/PG_VERSION" ]; then
  # Made beside its place and moved there: a pod killed on the way begins again, and never serves half a database.
  [ -s "$password" ] || { echo "no password in $password: mount the secret there, or set POSTGRES_PASSWORD_FILE" >&2; exit 1; }
  rm -rf "$PGDATA.new"
  initdb --pgdata "$PGDATA.new" --username postgres --pwfile <(tr -d '\n' < "$password") --auth scram-sha-256 \
    --encoding UTF8 --locale C.UTF-8 --data-checksums
  postgres --single -D "$PGDATA.new" postgres <<< "CREATE DATABASE \"$database\""
  sync -f "$PGDATA.new"
  mv "$PGDATA.new" "$PGDATA"
fi

connection=host encryption=(-c ssl=off)
if [ -e "$tls/tls.key" ]; then
  connection=hostssl encryption=(-c ssl=on -c "ssl_cert_file=$tls/tls.crt" -c "ssl_key_file=$tls/tls.key")
fi
printf '%s\n' 'local all all scram-sha-256' "$connection all all all scram-sha-256" > /run/postgresql/pg_hba.conf

exec postgres -D "$PGDATA" -c "listen_addresses=*" -c unix_socket_directories=/run/postgresql \
  -c hba_file=/run/postgresql/pg_hba.conf "${encryption[@]}" "$@"
