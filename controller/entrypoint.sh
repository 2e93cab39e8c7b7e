#!/bin/bash
# What every container of the stack starts through.
#
#   entrypoint.sh COMMAND...        run a command as the user `dialplane`; CERTIFICATE: name of the one it shows, if any
#   . entrypoint.sh; node SERVER COMMAND INSTALL   a server and its agent, side by side, each as its own user
#
# Database passwords come as secrets (/run/secrets/<role>) and are handed on as a libpq password file.
set -euo pipefail

export HOME=/var/lib/dialplane PGPASSFILE=/run/dialplane/pgpass

passwords() { # GROUP of the run directory
  local secret
  install -d -o dialplane -g "$1" -m 2770 /run/dialplane
  (
    umask 077
    for secret in /run/secrets/*; do
      if [ -e "$secret" ]; then printf '*:*:*:%s:%s\n' "$(basename "$secret")" "$(cat "$secret")"; fi
    done >"$PGPASSFILE"
  )
  chown dialplane "$PGPASSFILE"
}

as_dialplane() { setpriv --reuid=dialplane --regid=dialplane --init-groups --inh-caps=-all --bounding-set=-all "$@"; }

# The agent writes what the server reads, and the other way round: their directories belong to both.
shared() { # GROUP DIRECTORY...
  local group=$1
  shift
  install -d -o dialplane -g "$group" -m 2770 "$@"
}

# What clients by TLS are shown, /etc/dialplane/tls/NAME.crt and .key: what is mounted there stays, else there is a certificate
# of the container's own making.
certificate() { # GROUP NAME
  local tls=/etc/dialplane/tls
  [ ! -e "$tls/$2.crt" ] || return 0
  install -d -o root -g "$1" -m 750 /etc/dialplane "$tls"
  (umask 027 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 3650 \
    -subj "/CN=$HOSTNAME" -keyout "$tls/$2.key" -out "$tls/$2.crt" 2>/dev/null)
  chgrp "$1" "$tls/$2".* && chmod 640 "$tls/$2.key"
}

node() { # SERVER COMMAND INSTALL-ARGUMENTS...
  local server=$1 command=$2
  shift 2
  passwords "$server"
  shared "$server" /var/lib/dialplane "/var/lib/$server" /var/spool/dialplane /var/spool/dialplane/calls
  (umask 007 && cd / && as_dialplane dialplane agent install "$@")
  (umask 007 && as_dialplane dialplane agent prepare)
  # SQLite makes files 0644 at most, and a reader of a file in WAL mode writes beside it.
  find /var/lib/dialplane "/var/lib/$server" -maxdepth 1 -name '*.db*' -user dialplane -exec chmod g+rw {} +
  cat >/run/supervisord.conf <<END
[supervisord]
nodaemon=true
user=root
logfile=/dev/null
logfile_maxbytes=0
pidfile=/run/supervisord.pid

[unix_http_server]
file=/run/supervisor.sock
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix:///run/supervisor.sock

[program:$server]
command=$command
user=$server
umask=007
priority=1
# longer than exit_timeout_s of an edge, which has registrations to write
stopwaitsecs=30
autorestart=true
startretries=1000
stdout_logfile=/dev/stdout
stdout_logfile_maxbytes=0
redirect_stderr=true

[program:agent]
command=dialplane agent run
user=dialplane
umask=007
priority=2
stopwaitsecs=10
autorestart=true
startretries=1000
environment=HOME="$HOME"
stdout_logfile=/dev/stdout
stdout_logfile_maxbytes=0
redirect_stderr=true
END
  # Decisions for the calls of a media node. It reads the agent's state file, so it is the agent's user.
  if [ "$server" = asterisk ]; then
    cat >>/run/supervisord.conf <<END

[program:agi]
command=dialplane agi serve
user=dialplane
umask=007
priority=3
stopwaitsecs=10
autorestart=true
startretries=1000
environment=HOME="$HOME"
stdout_logfile=/dev/stdout
stdout_logfile_maxbytes=0
redirect_stderr=true
END
  fi
  exec supervisord -c /run/supervisord.conf
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  passwords dialplane
  [ -z "${CERTIFICATE:-}" ] || certificate dialplane "$CERTIFICATE"
  exec setpriv --reuid=dialplane --regid=dialplane --init-groups --inh-caps=-all --bounding-set=-all "$@"
fi
