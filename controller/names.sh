#!/bin/bash
# Name server container: PowerDNS on the rows (DIALPLANE_DATABASE), or on the zones of another server (PRIMARY).
#   ADDRESS    where it listens
#   SECONDARY  address that may transfer the zones
#   PURGED     answers are kept, and taken back when rows change
. /usr/local/bin/entrypoint.sh
passwords dialplane
install -d -o dialplane -g dialplane /etc/powerdns /var/lib/powerdns /run/pdns
as_dialplane dialplane agent install names --address "$ADDRESS" \
  ${PRIMARY:+--primary "$PRIMARY"} ${SECONDARY:+--secondary "$SECONDARY"} ${PURGED:+--purged}
cd /
# It starts again by itself when it ends; the container is the name server.
[ -z "$PURGED" ] || while :; do as_dialplane dialplane agent names || sleep 1; done &
exec setpriv --reuid=dialplane --regid=dialplane --init-groups --inh-caps=-all --bounding-set=-all pdns_server
