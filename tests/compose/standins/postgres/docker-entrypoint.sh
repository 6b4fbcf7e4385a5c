#!/bin/sh
set -eu
as_postgres="setpriv --reuid=postgres --regid=postgres --init-groups --"
mkdir -p /var/run/postgresql
chown postgres:postgres "$PGDATA" /var/run/postgresql
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    install -m 600 -o postgres "$POSTGRES_PASSWORD_FILE" /tmp/password
    $as_postgres initdb --username="$POSTGRES_USER" --pwfile=/tmp/password --auth-host=scram-sha-256 >/dev/null
    rm /tmp/password
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_USER" | $as_postgres postgres --single -j postgres >/dev/null
fi
exec $as_postgres "$@"
