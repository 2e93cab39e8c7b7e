-- One-time codes that nobody uses are how fraud by ordered messages looks. Who sends them tells which were used; what nobody
-- tells is not held against anybody.

ALTER TABLE public.accounts ADD COLUMN codes_told boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN public.accounts.codes_told IS
    'Whether what sends one-time codes for the account tells which were used (dialplane provision serve). Only then does metric '
    'unanswered_codes of rules of fraud count any.';

-- No node needs it, so there is nothing to apply when it changes.
CREATE OR REPLACE TRIGGER log_update AFTER UPDATE ON public.accounts
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(
        'r.name', 'r.name', '', 'false', 'configuration', '{reseller,codes_told}', '');

CREATE FUNCTION control.code_used(aor text, message uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    known boolean;
BEGIN
    INSERT INTO control.call_events (call_id, node, at, event, detail, file_id, position)
    SELECT 'message:' || m.id, coalesce(m.edge, ''), clock_timestamp(), 'message',
        jsonb_build_object('account', m.account, 'caller', coalesce(m.sender_user, ''), 'device', m.sender,
                           'called', m.called, 'to', coalesce(m.target, ''), 'status', 200, 'reason', 'used'),
        'used:' || m.id, 0
    FROM control.messages AS m
    WHERE m.id = message AND m.sender = aor
        -- What carried none takes nothing off the codes that nobody uses.
        AND EXISTS (SELECT FROM control.call_events AS e WHERE e.call_id = 'message:' || m.id AND e.detail ? 'code')
    ON CONFLICT DO NOTHING;
    SELECT EXISTS (SELECT FROM control.messages AS m WHERE m.id = message AND m.sender = aor) INTO known;
    RETURN known;
END
$$;
COMMENT ON FUNCTION control.code_used IS
    'The one-time code in a message of a device was used; twice the same. False: the device sent no such message.';
REVOKE EXECUTE ON FUNCTION control.code_used FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.code_used TO dialplane_admin, dialplane_controller;
GRANT SELECT (codes_told) ON public.accounts TO dialplane_fraud;

CALL control.explain_refusals();
