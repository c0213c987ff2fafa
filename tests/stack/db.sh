#!/bin/sh
# Starts PostgreSQL as Debian packages it; the first time on an empty volume it makes the cluster.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
    printf %s "$DB_PASSWORD" > /tmp/password
    "$bin/initdb" -D "$data" --username=postgres --pwfile=/tmp/password --auth=scram-sha-256 > /dev/null
    echo 'host all all all scram-sha-256' >> "$data/pg_hba.conf"
    rm /tmp/password
fi
exec "$bin/postgres" -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
