#!/bin/bash
# Media container: Asterisk and its agent. The agent owns dialplane.d, Asterisk reads it.
. /usr/local/bin/entrypoint.sh
shared asterisk /etc/asterisk/dialplane.d /etc/asterisk/dialplane-local
install -d -o asterisk -g asterisk -m 770 /run/asterisk /var/log/asterisk /var/lib/asterisk /var/spool/asterisk \
  /var/spool/asterisk/voicemail
node asterisk "asterisk -f -C /etc/asterisk/asterisk.conf" media --address "$ADDRESS"
