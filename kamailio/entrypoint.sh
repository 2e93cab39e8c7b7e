#!/bin/bash
# Edge container: Kamailio and its agent.
. /usr/local/bin/entrypoint.sh
shared kamailio /etc/kamailio
certificate kamailio edge
node kamailio "kamailio -DD -E -m ${KAMAILIO_SHM_MB:-256} -M ${KAMAILIO_PKG_MB:-16} -x tlsf -X tlsf -w /run/dialplane -f /etc/kamailio/kamailio.cfg" \
  edge --address "$ADDRESS" --set "node=$DIALPLANE_NODE" --set "peers=${PEERS:-null}" --set log_stderror=true --set tls=true \
  --set "device_group=${DEVICE_GROUP:-null}" --set "device_zone=${DEVICE_ZONE:-phones.dialplane.internal}"
