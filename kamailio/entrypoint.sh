#!/bin/bash
# Edge container: Kamailio and its agent.
. /usr/local/bin/entrypoint.sh
shared kamailio /etc/kamailio
node kamailio "kamailio -DD -E -m ${KAMAILIO_SHM_MB:-256} -M ${KAMAILIO_PKG_MB:-16} -w /run/dialplane -f /etc/kamailio/kamailio.cfg" \
  edge --address "$ADDRESS" --set "node=$DIALPLANE_NODE" --set log_stderror=true
