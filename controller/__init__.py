"""dialplane: the control plane of a hosted telephony service on Kamailio and Asterisk."""
