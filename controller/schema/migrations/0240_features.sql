-- Conferences, and extensions that lead to them. A conference may have PINs: one for members, one for moderators.

CREATE TABLE public.conferences (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT conferences_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT conferences_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    name public.slug NOT NULL,
    max_members integer CONSTRAINT conferences_max_members CHECK (max_members BETWEEN 2 AND 500),
    wait_for_moderator boolean NOT NULL DEFAULT false,
    announce text NOT NULL DEFAULT 'tone' CONSTRAINT conferences_announce CHECK (announce IN ('none', 'tone', 'name')),
    record boolean NOT NULL DEFAULT false,
    CONSTRAINT conferences_name_key UNIQUE (account_id, name),
    CONSTRAINT conferences_account_id_key UNIQUE (account_id, id)
);
COMMENT ON TABLE public.conferences IS 'Conferences: who dials the same one talks with all others who did.';
COMMENT ON COLUMN public.conferences.id IS 'Number of the row.';
COMMENT ON COLUMN public.conferences.account_id IS 'Account the conference belongs to.';
COMMENT ON COLUMN public.conferences.name IS 'Name of the conference, unique in the account.';
COMMENT ON COLUMN public.conferences.max_members IS 'How many may be in it at once, 2 to 500; null: any number.';
COMMENT ON COLUMN public.conferences.wait_for_moderator IS
    'True: members hear music until a moderator is there, and again when the last one has left. Needs a PIN for '
    'moderators.';
COMMENT ON COLUMN public.conferences.announce IS
    'What the others hear when somebody comes or goes: none, a tone, or the name that was said at the door.';
COMMENT ON COLUMN public.conferences.record IS
    'True: it is recorded, and everybody is told so before they are let in.';

CREATE TABLE public.conference_pins (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT conference_pins_pkey PRIMARY KEY,
    account_id bigint NOT NULL
        CONSTRAINT conference_pins_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    conference_id bigint NOT NULL,
    moderator boolean NOT NULL DEFAULT false,
    pin_digest public.pin_digest NOT NULL,
    CONSTRAINT conference_pins_key UNIQUE (conference_id, moderator),
    CONSTRAINT conference_pins_conference_fkey FOREIGN KEY (account_id, conference_id)
        REFERENCES public.conferences (account_id, id) ON DELETE CASCADE
);
CREATE INDEX conference_pins_account ON public.conference_pins (account_id, conference_id);
COMMENT ON TABLE public.conference_pins IS
    'PINs of conferences. Without one for members, everybody who dials the conference is let in.';
COMMENT ON COLUMN public.conference_pins.id IS 'Number of the row.';
COMMENT ON COLUMN public.conference_pins.account_id IS 'Account of the conference.';
COMMENT ON COLUMN public.conference_pins.conference_id IS 'The conference.';
COMMENT ON COLUMN public.conference_pins.moderator IS 'True: who gives this PIN is a moderator.';
COMMENT ON COLUMN public.conference_pins.pin_digest IS
    'SHA-1 of conference@account:pin. Set it with set_conference_pin().';

CREATE FUNCTION public.set_conference_pin(conference text, account text, pin text, moderator boolean DEFAULT false)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    owner bigint;
    found_id bigint;
BEGIN
    IF pin !~ '^[0-9]{4,10}$' THEN
        RAISE EXCEPTION 'the PIN for conference % of account % cannot be used', conference, account
            USING ERRCODE = 'invalid_password', HINT = 'Take 4 to 10 digits.';
    END IF;
    SELECT c.account_id, c.id INTO owner, found_id
    FROM public.conferences AS c JOIN public.accounts AS a ON a.id = c.account_id
    WHERE a.name = account AND c.name = conference;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'conference % of account % does not exist', conference, account
            USING ERRCODE = 'no_data_found', HINT = 'See the table conferences.';
    END IF;
    IF pin IS NULL THEN
        DELETE FROM public.conference_pins AS p
        WHERE p.conference_id = found_id AND p.moderator = set_conference_pin.moderator;
        RETURN;
    END IF;
    INSERT INTO public.conference_pins AS p (account_id, conference_id, moderator, pin_digest)
    VALUES (owner, found_id, moderator, control.sha1(convert_to(conference || '@' || account || ':' || pin, 'UTF8')))
    ON CONFLICT ON CONSTRAINT conference_pins_key DO UPDATE SET pin_digest = EXCLUDED.pin_digest;
END
$$;
COMMENT ON FUNCTION public.set_conference_pin IS
    'Sets the PIN of a conference for members, or for moderators; null: takes it away. Only a digest is kept.';
REVOKE EXECUTE ON FUNCTION public.set_conference_pin FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.set_conference_pin TO dialplane_admin;

ALTER TABLE public.extensions
    ADD COLUMN conference_id bigint,
    DROP CONSTRAINT extensions_kind,
    ADD CONSTRAINT extensions_kind CHECK (
        kind IN ('user', 'voicemail', 'voicemail_main', 'echo', 'announcement', 'number', 'policy', 'group', 'menu',
                 'queue', 'conference')
    ),
    ADD CONSTRAINT extensions_conference CHECK ((kind = 'conference') = (conference_id IS NOT NULL)),
    ADD CONSTRAINT extensions_conference_fkey FOREIGN KEY (account_id, conference_id)
        REFERENCES public.conferences (account_id, id);
CREATE INDEX extensions_conference ON public.extensions (conference_id) WHERE conference_id IS NOT NULL;
COMMENT ON COLUMN public.extensions.kind IS
    'user: ring the devices of a user; voicemail: leave a message; voicemail_main: listen to messages; echo: echo '
    'test; announcement: play one; number: call an outside number; policy: let its rules decide; group: ring its members; '
    'menu: a voice menu; queue: wait for a member; conference: go there.';
COMMENT ON COLUMN public.extensions.conference_id IS 'Conference, for kind conference; null otherwise.';

-- A new name would make the digests of its PINs worthless.
CREATE FUNCTION control.refuse_conference_rename() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM public.conference_pins AS p
               WHERE CASE TG_TABLE_NAME WHEN 'accounts' THEN p.account_id ELSE p.conference_id END = OLD.id) THEN
        RAISE EXCEPTION '% % cannot be renamed like this: PINs of conferences were made with the old name',
            CASE TG_TABLE_NAME WHEN 'accounts' THEN 'account' ELSE 'conference' END, OLD.name
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = TG_TABLE_NAME,
                  CONSTRAINT = TG_TABLE_NAME || '_rename',
                  HINT = 'Delete its rows of conference_pins first, rename, and set new PINs with set_conference_pin().';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION control.refuse_conference_rename IS 'Refuses a new name that would make PIN digests worthless.';
CREATE TRIGGER conferences_rename BEFORE UPDATE ON public.conferences FOR EACH ROW
    WHEN (NEW.name IS DISTINCT FROM OLD.name OR NEW.account_id IS DISTINCT FROM OLD.account_id)
    EXECUTE FUNCTION control.refuse_conference_rename();
CREATE TRIGGER accounts_conferences_rename BEFORE UPDATE ON public.accounts FOR EACH ROW
    WHEN (NEW.name IS DISTINCT FROM OLD.name) EXECUTE FUNCTION control.refuse_conference_rename();

-- Members that wait for a moderator would wait for ever where nobody can become one. Checked at commit.
CREATE FUNCTION control.check_conference() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong record;
BEGIN
    SELECT c.name, a.name AS account INTO wrong
    FROM public.conferences AS c JOIN public.accounts AS a ON a.id = c.account_id
    WHERE c.id = CASE TG_TABLE_NAME
            WHEN 'conferences' THEN (to_jsonb(NEW) ->> 'id')::bigint
            ELSE (to_jsonb(OLD) ->> 'conference_id')::bigint
        END
        AND c.wait_for_moderator
        AND NOT EXISTS (SELECT FROM public.conference_pins AS p WHERE p.conference_id = c.id AND p.moderator);
    IF FOUND THEN
        RAISE EXCEPTION 'conference % of account %: it waits for a moderator, but has no PIN for moderators',
            wrong.name, wrong.account
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'conferences',
                  COLUMN = 'wait_for_moderator', CONSTRAINT = 'conferences_moderator',
                  HINT = 'Set one with set_conference_pin(conference, account, pin, true), or wait_for_moderator = false.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.check_conference IS
    'Refuses a conference that waits for a moderator and has no PIN for one.';
CREATE CONSTRAINT TRIGGER conferences_moderator AFTER INSERT OR UPDATE ON public.conferences
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.wait_for_moderator)
    EXECUTE FUNCTION control.check_conference();
CREATE CONSTRAINT TRIGGER conference_pins_gone AFTER UPDATE OR DELETE ON public.conference_pins
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (OLD.moderator) EXECUTE FUNCTION control.check_conference();

DO $$
DECLARE
    one record;
    by_account constant text := 'LEFT JOIN public.accounts AS a ON a.id = r.account_id';
BEGIN
    FOR one IN
        SELECT * FROM (VALUES
            ('conferences', 'a.name || ''/'' || r.name', by_account, '(a.id IS NULL)', ''),
            ('conference_pins',
             'a.name || ''/'' || o.name || ''/'' || CASE WHEN r.moderator THEN ''moderator'' ELSE ''member'' END',
             by_account || ' LEFT JOIN public.conferences AS o ON o.id = r.conference_id',
             '(a.id IS NULL OR o.id IS NULL)', 'secret')
        ) AS spec (tbl, key, joins, owner_gone, secret)
    LOOP
        EXECUTE format(
            'CREATE TRIGGER log_insert AFTER INSERT ON public.%1$I REFERENCING NEW TABLE AS new_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, ''a.name'', %3$L, %4$L, ''configuration'', ''{}'', %5$L);
             CREATE TRIGGER log_update AFTER UPDATE ON public.%1$I
                 REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, ''a.name'', %3$L, %4$L, ''configuration'', ''{}'', %5$L);
             CREATE TRIGGER log_delete AFTER DELETE ON public.%1$I REFERENCING OLD TABLE AS old_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, ''a.name'', %3$L, %4$L, ''configuration'', ''{}'', %5$L);
             CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.%1$I
                 FOR EACH STATEMENT EXECUTE FUNCTION control.refuse_truncate();
             GRANT SELECT ON public.%1$I TO dialplane_admin, dialplane_controller;
             GRANT INSERT, UPDATE, DELETE ON public.%1$I TO dialplane_admin',
            one.tbl, one.key, one.joins, one.owner_gone, one.secret
        );
    END LOOP;
END
$$;
GRANT SELECT ON public.conferences TO dialplane_reader;
GRANT SELECT (id, account_id, conference_id, moderator) ON public.conference_pins TO dialplane_reader;

COMMENT ON CONSTRAINT conferences_max_members ON public.conferences IS
    'let 2 to 500 in at once, or set nothing for any number';
COMMENT ON CONSTRAINT conferences_announce ON public.conferences IS 'choose none, tone or name';
COMMENT ON CONSTRAINT extensions_kind ON public.extensions IS
    'choose user, voicemail, voicemail_main, echo, announcement, number, policy, group, menu, queue or conference';
COMMENT ON CONSTRAINT extensions_conference ON public.extensions IS
    'kind conference needs a conference, and only kind conference has one: set or clear conference_id, or choose '
    'another kind';

CALL control.explain_refusals();
