-- Who follows what is going on (dialplane fraud serve) makes incidents of verdicts: blocks, caps, secrets that are changed.

GRANT SELECT, INSERT ON public.fraud_incidents TO dialplane_fraud;
GRANT UPDATE (state, ended_at, ended_by, until) ON public.fraud_incidents TO dialplane_fraud;
GRANT SELECT, INSERT ON control.fraud_actions TO dialplane_fraud;
GRANT SELECT, INSERT ON public.blocks TO dialplane_fraud;
GRANT SELECT ON public.emergency_numbers TO dialplane_fraud;
GRANT SELECT (id, account, sender, ended_at), UPDATE (state, reason, ended_at, body) ON control.messages TO dialplane_fraud;
GRANT SELECT (id, message, kind, address, state, ended_at), UPDATE (state, reason, ended_at, lease_until)
    ON control.message_deliveries TO dialplane_fraud;
GRANT SELECT (device_id, generation), UPDATE (generation) ON control.device_provisioning TO dialplane_fraud;
GRANT EXECUTE ON FUNCTION control.set_credential, control.actor TO dialplane_fraud;

CALL control.explain_refusals();
