#!/bin/bash
# PostgreSQL of the stack: makes the cluster at the first start, with one role that owns the database.
# That role may create roles and nothing more; no role but Debian's own local `postgres` is a superuser.
set -euo pipefail
BIN=/usr/lib/postgresql/18/bin DATA=/var/lib/postgresql/data
as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups --inh-caps=-all --bounding-set=-all "$@"; }

install -d -o postgres -g postgres -m 2775 /run/postgresql
chown postgres:postgres "$DATA" && chmod 700 "$DATA"
if [ ! -s "$DATA/PG_VERSION" ]; then
  as_postgres "$BIN/initdb" -D "$DATA" -E UTF8 --locale=C.UTF-8 --auth-local=peer --auth-host=scram-sha-256 >/dev/null
  cat >>"$DATA/postgresql.conf" <<'END'
listen_addresses = '*'
shared_buffers = 256MB
effective_cache_size = 1GB
maintenance_work_mem = 128MB
max_wal_size = 2GB
max_connections = 300
random_page_cost = 1.1
jit = off
password_encryption = scram-sha-256
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m %u %a '
# The DETAIL of a refused row would print the row, digests included.
log_error_verbosity = terse
END
  echo 'host all all all scram-sha-256' >>"$DATA/pg_hba.conf"
  { printf "\\set password '%s'\n" "$(cat /run/secrets/owner)"
    printf 'CREATE ROLE owner LOGIN CREATEROLE PASSWORD :%s;\n' "'password'"
    printf 'CREATE DATABASE dialplane OWNER owner;\n'
  } >/run/postgresql/first.sql
  as_postgres "$BIN/pg_ctl" -D "$DATA" -w -s -o "-c listen_addresses=''" start
  as_postgres psql -q -v ON_ERROR_STOP=1 -d postgres <"/run/postgresql/first.sql"
  as_postgres "$BIN/pg_ctl" -D "$DATA" -w -s -m fast stop
  rm /run/postgresql/first.sql
fi
exec setpriv --reuid=postgres --regid=postgres --init-groups --inh-caps=-all --bounding-set=-all \
  "$BIN/postgres" -D "$DATA"
