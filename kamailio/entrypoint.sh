#!/bin/bash
# Edge container: Kamailio and its agent.
. /usr/local/bin/entrypoint.sh
shared kamailio /etc/kamailio
# Phones may come by TLS; a certificate that is mounted here stays, else there is one of the edge's own making.
TLS=/etc/dialplane/tls
if [ ! -e "$TLS/edge.crt" ]; then
  install -d -o root -g kamailio -m 750 /etc/dialplane "$TLS"
  (umask 027 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 3650 \
    -subj "/CN=$DIALPLANE_NODE" -keyout "$TLS/edge.key" -out "$TLS/edge.crt" 2>/dev/null)
  chgrp kamailio "$TLS"/edge.* && chmod 640 "$TLS/edge.key"
fi
node kamailio "kamailio -DD -E -m ${KAMAILIO_SHM_MB:-256} -M ${KAMAILIO_PKG_MB:-16} -x tlsf -X tlsf -w /run/dialplane -f /etc/kamailio/kamailio.cfg" \
  edge --address "$ADDRESS" --set "node=$DIALPLANE_NODE" --set "peers=${PEERS:-null}" --set log_stderror=true --set tls=true \
  --set "device_group=${DEVICE_GROUP:-null}" --set "device_zone=${DEVICE_ZONE:-phones.dialplane.internal}"
