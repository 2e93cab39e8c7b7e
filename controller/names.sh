#!/bin/bash
# Name server container: PowerDNS on the rows (DIALPLANE_DATABASE), or on the zones of another server (PRIMARY).
#   ADDRESS    where it listens
#   SECONDARY  address that may transfer the zones
. /usr/local/bin/entrypoint.sh
passwords dialplane
install -d -o dialplane -g dialplane /etc/powerdns /var/lib/powerdns /run/pdns
as_dialplane dialplane agent install names --address "$ADDRESS" \
  ${PRIMARY:+--primary "$PRIMARY"} ${SECONDARY:+--secondary "$SECONDARY"}
cd /
exec setpriv --reuid=dialplane --regid=dialplane --init-groups --inh-caps=-all --bounding-set=-all pdns_server
