-- The device that a user likes to call from: a call that dialplane places for the user rings it first.

ALTER TABLE public.devices
    ADD COLUMN preferred boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT devices_preferred CHECK (NOT preferred OR user_id IS NOT NULL);
CREATE INDEX devices_preferred_user ON public.devices (user_id) WHERE preferred;
COMMENT ON COLUMN public.devices.preferred IS
    'True: it rings first, alone, when a call is placed for its user (dialplane call originate). One device of a user.';
GRANT SELECT (preferred) ON public.devices TO dialplane_reader;

-- Checked at commit, so that another device may be preferred in any order of the rows.
CREATE FUNCTION control.check_preferred() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong record;
BEGIN
    SELECT u.name, a.name AS account, string_agg(d.name || '@' || o.name, ', ' ORDER BY d.name, o.name) AS devices
    INTO wrong
    FROM public.devices AS d
    JOIN public.domains AS o ON o.id = d.domain_id
    JOIN public.users AS u ON u.id = d.user_id
    JOIN public.accounts AS a ON a.id = d.account_id
    WHERE d.user_id = NEW.user_id AND d.preferred
    GROUP BY u.name, a.name HAVING count(*) > 1;
    IF FOUND THEN
        RAISE EXCEPTION 'user % of account % has several preferred devices: %', wrong.name, wrong.account, wrong.devices
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'devices', COLUMN = 'preferred',
                  CONSTRAINT = 'devices_preferred_one', HINT = 'Set preferred for one of them.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.check_preferred IS 'Refuses a second preferred device of a user.';
CREATE CONSTRAINT TRIGGER devices_preferred_one AFTER INSERT OR UPDATE ON public.devices
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.preferred) EXECUTE FUNCTION control.check_preferred();

COMMENT ON CONSTRAINT devices_preferred ON public.devices IS
    'only a device of a user can be preferred: give it a user, or clear preferred';

CALL control.explain_refusals();
