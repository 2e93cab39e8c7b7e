-- Parking lots, and extensions that park: a call put there waits in a numbered slot, and whoever dials the slot has it.

CREATE TABLE public.parking_lots (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT parking_lots_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT parking_lots_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    name public.slug NOT NULL,
    first_slot text NOT NULL CONSTRAINT parking_lots_first_slot CHECK (first_slot ~ '^[1-9][0-9]{0,7}$'),
    slots integer NOT NULL DEFAULT 10 CONSTRAINT parking_lots_slots CHECK (slots BETWEEN 1 AND 100),
    wait_s integer NOT NULL DEFAULT 120 CONSTRAINT parking_lots_wait CHECK (wait_s BETWEEN 5 AND 7200),
    return_s integer NOT NULL DEFAULT 30 CONSTRAINT parking_lots_return CHECK (return_s BETWEEN 0 AND 120),
    on_timeout public.step NOT NULL DEFAULT 'hangup',
    CONSTRAINT parking_lots_name_key UNIQUE (account_id, name),
    CONSTRAINT parking_lots_account_id_key UNIQUE (account_id, id),
    CONSTRAINT parking_lots_voicemail CHECK (on_timeout <> 'voicemail')
);
COMMENT ON TABLE public.parking_lots IS
    'Parking lots: a parked call waits in a slot of its lot until somebody of the account dials the slot.';
COMMENT ON COLUMN public.parking_lots.id IS 'Number of the row.';
COMMENT ON COLUMN public.parking_lots.account_id IS 'Account the parking lot belongs to.';
COMMENT ON COLUMN public.parking_lots.name IS 'Name of the parking lot, unique in the account.';
COMMENT ON COLUMN public.parking_lots.first_slot IS
    'Number of the first slot, such as 701; the others follow. No extension of the account has one of these numbers.';
COMMENT ON COLUMN public.parking_lots.slots IS 'How many calls may be parked at once, 1 to 100.';
COMMENT ON COLUMN public.parking_lots.wait_s IS
    'How long a call waits before it comes back to the device that parked it, in seconds, 5 to 7200.';
COMMENT ON COLUMN public.parking_lots.return_s IS
    'How long that device rings then, in seconds, up to 120; 0: not at all.';
COMMENT ON COLUMN public.parking_lots.on_timeout IS 'What comes next when that device does not take the call back.';

ALTER TABLE public.extensions
    ADD COLUMN parking_lot_id bigint,
    DROP CONSTRAINT extensions_kind,
    ADD CONSTRAINT extensions_kind CHECK (
        kind IN ('user', 'voicemail', 'voicemail_main', 'echo', 'announcement', 'number', 'policy', 'group', 'menu',
                 'queue', 'conference', 'pickup', 'park')
    ),
    ADD CONSTRAINT extensions_park CHECK ((kind = 'park') = (parking_lot_id IS NOT NULL)),
    ADD CONSTRAINT extensions_parking_lot_fkey FOREIGN KEY (account_id, parking_lot_id)
        REFERENCES public.parking_lots (account_id, id);
CREATE INDEX extensions_parking_lot ON public.extensions (parking_lot_id) WHERE parking_lot_id IS NOT NULL;
COMMENT ON COLUMN public.extensions.kind IS
    'user: ring the devices of a user; voicemail: leave a message; voicemail_main: listen to messages; echo: echo '
    'test; announcement: play one; number: call an outside number; policy: let its rules decide; group: ring its members; '
    'menu: a voice menu; queue: wait for a member; conference: go there; pickup: take a call that rings somewhere in the '
    'account, or with an extension dialled right behind (*8101) one that rings there; park: wait in a parking lot.';
COMMENT ON COLUMN public.extensions.parking_lot_id IS 'Parking lot, for kind park; null otherwise.';

-- A slot is dialled as an extension is. Looked at from both sides, so that neither takes a number of the other.
CREATE FUNCTION control.check_slots(account bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    wrong record;
BEGIN
    SELECT l.name, a.name AS account, o.what INTO wrong
    FROM public.parking_lots AS l
    JOIN public.accounts AS a ON a.id = l.account_id
    CROSS JOIN LATERAL (
        SELECT 'extension ' || e.extension AS what FROM public.extensions AS e
        WHERE e.account_id = l.account_id
            AND e.extension IN (SELECT (l.first_slot::bigint + n)::text FROM generate_series(0, l.slots - 1) AS n)
        UNION ALL
        SELECT 'parking lot ' || o.name FROM public.parking_lots AS o
        WHERE o.account_id = l.account_id AND o.id <> l.id
            AND o.first_slot::bigint < l.first_slot::bigint + l.slots
            AND l.first_slot::bigint < o.first_slot::bigint + o.slots
    ) AS o
    WHERE l.account_id = check_slots.account
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'parking lot % of account %: % has a number of its slots', wrong.name, wrong.account, wrong.what
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'parking_lots', COLUMN = 'first_slot',
                  CONSTRAINT = 'parking_lots_taken',
                  HINT = 'Let the slots begin somewhere else, have fewer of them, or give the other another number.';
    END IF;
END
$$;
COMMENT ON FUNCTION control.check_slots IS 'Refuses a parking lot whose slots have numbers that lead elsewhere.';

CREATE FUNCTION control.slots_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM control.check_slots(NEW.account_id);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.slots_changed IS 'Checks the slots of an account after its parking lots changed.';
CREATE CONSTRAINT TRIGGER parking_lots_taken AFTER INSERT OR UPDATE ON public.parking_lots
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.slots_changed();

-- Extensions come by the hundred thousand, parking lots do not: one look for all rows of a statement.
CREATE FUNCTION control.extensions_meet_slots() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM control.check_slots(l.account_id)
    FROM (SELECT DISTINCT l.account_id FROM public.parking_lots AS l
          WHERE l.account_id IN (SELECT n.account_id FROM new_rows AS n)) AS l;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.extensions_meet_slots IS 'Checks the slots of accounts whose extensions changed.';
CREATE TRIGGER slots_insert AFTER INSERT ON public.extensions REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.extensions_meet_slots();
CREATE TRIGGER slots_update AFTER UPDATE ON public.extensions REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.extensions_meet_slots();

-- Steps, as in 0201: one place more that leads somewhere by text.
DO $$
BEGIN
    EXECUTE 'CREATE OR REPLACE VIEW control.steps AS '
        || rtrim(pg_get_viewdef('control.steps'::regclass), '; ')
        || ' UNION ALL SELECT l.account_id, ''parking_lots'', l.id, ''parking lot '' || l.name, ''on_timeout'',
                 l.on_timeout::text, NULL FROM public.parking_lots AS l';
END
$$;
CREATE CONSTRAINT TRIGGER parking_lots_steps AFTER INSERT OR UPDATE ON public.parking_lots
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.steps_changed();

DO $$
DECLARE
    log constant text := 'FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(''a.name || ''''/'''' || r.name'', '
        '''a.name'', ''LEFT JOIN public.accounts AS a ON a.id = r.account_id'', ''(a.id IS NULL)'', ''configuration'', '
        '''{}'', '''')';
BEGIN
    EXECUTE 'CREATE TRIGGER log_insert AFTER INSERT ON public.parking_lots REFERENCING NEW TABLE AS new_rows ' || log;
    EXECUTE 'CREATE TRIGGER log_update AFTER UPDATE ON public.parking_lots '
        'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ' || log;
    EXECUTE 'CREATE TRIGGER log_delete AFTER DELETE ON public.parking_lots REFERENCING OLD TABLE AS old_rows ' || log;
END
$$;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.parking_lots
    FOR EACH STATEMENT EXECUTE FUNCTION control.refuse_truncate();
GRANT SELECT ON public.parking_lots TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT INSERT, UPDATE, DELETE ON public.parking_lots TO dialplane_admin;

COMMENT ON CONSTRAINT parking_lots_first_slot ON public.parking_lots IS
    'a slot is dialled as a number without a leading zero, 8 digits at most, such as 701';
COMMENT ON CONSTRAINT parking_lots_slots ON public.parking_lots IS 'have 1 to 100 slots';
COMMENT ON CONSTRAINT parking_lots_wait ON public.parking_lots IS 'let calls wait for 5 to 7200 seconds';
COMMENT ON CONSTRAINT parking_lots_return ON public.parking_lots IS
    'let the device that parked a call ring for 120 seconds at most, or 0 not to ring it';
COMMENT ON CONSTRAINT parking_lots_voicemail ON public.parking_lots IS
    'a parking lot is no user with a mailbox of its own: name the mailbox, as in voicemail:600';
COMMENT ON CONSTRAINT extensions_kind ON public.extensions IS
    'choose user, voicemail, voicemail_main, echo, announcement, number, policy, group, menu, queue, conference, pickup '
    'or park';
COMMENT ON CONSTRAINT extensions_park ON public.extensions IS
    'kind park needs a parking lot, and only kind park has one: set or clear parking_lot_id, or choose another kind';

CALL control.explain_refusals();
