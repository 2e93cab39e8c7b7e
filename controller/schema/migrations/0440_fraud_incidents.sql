-- Verdicts of fraud are enforced: an incident is a verdict with what it brought about. Blocks of incidents are rows of `blocks`,
-- so they are live on every edge at commit; an incident that is over takes its blocks with it, in the same transaction.

CREATE TABLE public.fraud_incidents (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT fraud_incidents_pkey PRIMARY KEY,
    rule text NOT NULL,
    owner text NOT NULL DEFAULT 'everybody',
    level text NOT NULL CONSTRAINT fraud_incidents_level CHECK (level IN ('warning', 'critical')),
    scope text NOT NULL CONSTRAINT fraud_incidents_scope
        CHECK (scope IN ('device', 'user', 'group', 'account', 'reseller', 'source')),
    subject text NOT NULL,
    account text NOT NULL DEFAULT '',
    mode text NOT NULL CONSTRAINT fraud_incidents_mode CHECK (mode IN ('observe', 'enforce')),
    value double precision NOT NULL,
    threshold double precision NOT NULL,
    destinations text[] NOT NULL DEFAULT '{any}',
    evidence text[] NOT NULL DEFAULT '{}',
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    until timestamptz NOT NULL,
    opened_by text NOT NULL DEFAULT control.actor(),
    state text NOT NULL DEFAULT 'open' CONSTRAINT fraud_incidents_state CHECK (state IN ('open', 'released', 'closed')),
    ended_at timestamptz,
    ended_by text,
    CONSTRAINT fraud_incidents_key UNIQUE (rule, owner, scope, subject, level, at),
    CONSTRAINT fraud_incidents_ended CHECK ((state = 'open') = (ended_at IS NULL) AND (state = 'open') = (ended_by IS NULL))
);
CREATE INDEX fraud_incidents_open ON public.fraud_incidents (until) WHERE state = 'open';
CREATE INDEX fraud_incidents_at ON public.fraud_incidents (at DESC);
COMMENT ON TABLE public.fraud_incidents IS
    'Verdicts of fraud: what was seen, of whom, and until when what follows holds. Setting state to released or closed lifts the '
    'blocks of the incident in the same transaction; a new until holds for them too.';
COMMENT ON COLUMN public.fraud_incidents.id IS 'Number of the incident.';
COMMENT ON COLUMN public.fraud_incidents.rule IS 'Name of the rule that held; by-hand: a person.';
COMMENT ON COLUMN public.fraud_incidents.owner IS 'Whom that rule is for.';
COMMENT ON COLUMN public.fraud_incidents.level IS 'warning, or critical: actions follow.';
COMMENT ON COLUMN public.fraud_incidents.scope IS 'device, user, group, account, reseller or source.';
COMMENT ON COLUMN public.fraud_incidents.subject IS
    'Of whom: device@domain, account/user, account/group, account name, reseller or IP address.';
COMMENT ON COLUMN public.fraud_incidents.account IS 'Account whose it is; empty: none, as of an address.';
COMMENT ON COLUMN public.fraud_incidents.mode IS 'observe: nothing was done; enforce.';
COMMENT ON COLUMN public.fraud_incidents.value IS 'What was counted, in the unit of the rule''s metric.';
COMMENT ON COLUMN public.fraud_incidents.threshold IS 'From which value on it holds.';
COMMENT ON COLUMN public.fraud_incidents.destinations IS 'Which numbers it is about, as in fraud_rules.';
COMMENT ON COLUMN public.fraud_incidents.evidence IS 'What was seen last: number, call, address, user agent.';
COMMENT ON COLUMN public.fraud_incidents.at IS 'Since when.';
COMMENT ON COLUMN public.fraud_incidents.until IS 'When it ends by itself.';
COMMENT ON COLUMN public.fraud_incidents.opened_by IS 'Who wrote it.';
COMMENT ON COLUMN public.fraud_incidents.state IS
    'open; released: it is over (by time, or somebody said so); closed: nothing is left to be blocked (allow-list, new secret fetched).';
COMMENT ON COLUMN public.fraud_incidents.ended_at IS 'When it was over; null: it is open.';
COMMENT ON COLUMN public.fraud_incidents.ended_by IS 'Who ended it: a role, time, rule, allow-list or provisioning; null: it is open.';
COMMENT ON CONSTRAINT fraud_incidents_level ON public.fraud_incidents IS 'level is warning or critical';
COMMENT ON CONSTRAINT fraud_incidents_scope ON public.fraud_incidents IS
    'choose device, user, group, account, reseller or source';
COMMENT ON CONSTRAINT fraud_incidents_mode ON public.fraud_incidents IS 'choose observe or enforce';
COMMENT ON CONSTRAINT fraud_incidents_state ON public.fraud_incidents IS 'choose released or closed to end it';
COMMENT ON CONSTRAINT fraud_incidents_ended ON public.fraud_incidents IS
    'an incident that is over stays so: let the rule, or dialplane fraud block, make a new one';

CREATE TABLE control.fraud_actions (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT fraud_actions_pkey PRIMARY KEY,
    incident_id bigint NOT NULL CONSTRAINT fraud_actions_incident_fkey REFERENCES public.fraud_incidents ON DELETE CASCADE,
    action text NOT NULL CONSTRAINT fraud_actions_action CHECK (action IN (
        'notify', 'block_destination', 'cap_calls', 'outbound_off', 'end_calls', 'block_source', 'unregister', 'rotate', 'suspend'
    )),
    state text NOT NULL CONSTRAINT fraud_actions_state CHECK (state IN ('pending', 'done', 'failed', 'undone')),
    target jsonb NOT NULL DEFAULT '{}',
    receipt jsonb NOT NULL DEFAULT '[]',
    tries integer NOT NULL DEFAULT 0,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at timestamptz,
    CONSTRAINT fraud_actions_key UNIQUE (incident_id, action)
);
CREATE INDEX fraud_actions_pending ON control.fraud_actions (id) WHERE state = 'pending';
COMMENT ON TABLE control.fraud_actions IS
    'What an incident brings about. Blocks and secrets are done with the incident; what nodes have to do is pending until they did.';
COMMENT ON COLUMN control.fraud_actions.id IS 'Number of the action.';
COMMENT ON COLUMN control.fraud_actions.incident_id IS 'The incident.';
COMMENT ON COLUMN control.fraud_actions.action IS
    'notify, block_destination, cap_calls, outbound_off, end_calls, block_source, unregister, rotate or suspend.';
COMMENT ON COLUMN control.fraud_actions.state IS
    'pending (nodes have to do it), done, failed (the receipt says why), undone (the incident is over).';
COMMENT ON COLUMN control.fraud_actions.target IS 'What it is about: blocks, devices.';
COMMENT ON COLUMN control.fraud_actions.receipt IS 'What came of it: a list, one object for each leg, contact, message or device.';
COMMENT ON COLUMN control.fraud_actions.tries IS 'How often nodes were asked.';
COMMENT ON COLUMN control.fraud_actions.at IS 'When it was decided.';
COMMENT ON COLUMN control.fraud_actions.done_at IS 'When it was done or given up; null: it is pending.';
COMMENT ON CONSTRAINT fraud_actions_incident_fkey ON control.fraud_actions IS 'there is no such incident, or it has actions';
COMMENT ON CONSTRAINT fraud_actions_action ON control.fraud_actions IS 'no such action: see fraud_rules.actions';
COMMENT ON CONSTRAINT fraud_actions_state ON control.fraud_actions IS 'state is pending, done, failed or undone';

-- A block says more than prefixes, users have them too, and each incident has its own.
ALTER TABLE public.blocks
    ADD COLUMN incident_id bigint CONSTRAINT blocks_incident_fkey REFERENCES public.fraud_incidents ON DELETE CASCADE,
    ADD COLUMN most integer CONSTRAINT blocks_most CHECK (most BETWEEN 1 AND 100000),
    DROP CONSTRAINT blocks_key,
    DROP CONSTRAINT blocks_scope,
    DROP CONSTRAINT blocks_what,
    DROP CONSTRAINT blocks_subject,
    DROP CONSTRAINT blocks_everything,
    ADD CONSTRAINT blocks_key UNIQUE NULLS NOT DISTINCT (scope, subject, what, incident_id),
    ADD CONSTRAINT blocks_scope CHECK (scope IN ('account', 'user', 'device', 'source', 'all')),
    ADD CONSTRAINT blocks_what CHECK (
        what ~ ('^(\*|outside|\+[1-9][0-9]{0,14}|[A-Z]{2}|premium|shared_cost|satellite|high_risk|international|national|unallocated)$')
    ),
    ADD CONSTRAINT blocks_subject CHECK (
        CASE scope
            WHEN 'account' THEN subject ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'
            WHEN 'user' THEN subject ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?/[a-z0-9][a-z0-9._-]{0,63}$'
            WHEN 'device' THEN subject ~ '^[a-z0-9][a-z0-9._-]{0,63}@[a-z0-9.-]{1,253}$'
            WHEN 'source' THEN pg_input_is_valid(subject, 'inet') AND subject = host(subject::inet)
            ELSE subject = '*'
        END
    ),
    ADD CONSTRAINT blocks_everything CHECK (scope <> 'all' OR what NOT IN ('*', 'outside', 'national', 'international')),
    ADD CONSTRAINT blocks_capped CHECK (most IS NULL OR (what = '*' AND scope IN ('account', 'user', 'device')));
CREATE INDEX blocks_incident ON public.blocks (incident_id) WHERE incident_id IS NOT NULL;
COMMENT ON COLUMN public.blocks.scope IS 'Who is blocked: account, user, device, source (an IP address) or all.';
COMMENT ON COLUMN public.blocks.subject IS 'Account name, account/user, device@domain, IP address; * for scope all.';
COMMENT ON COLUMN public.blocks.what IS
    'What they may not call: first digits with +, a country such as TN, a class of numbers (premium, shared_cost, satellite, '
    'high_risk, international, national, unallocated), outside (whatever is not the account''s own); *: nothing at all.';
COMMENT ON COLUMN public.blocks.expires_at IS 'When the block ends by itself, on edges too; null: never.';
COMMENT ON COLUMN public.blocks.incident_id IS 'Incident of fraud that it belongs to, and goes with; null: a person set it.';
COMMENT ON COLUMN public.blocks.most IS 'No block but a cap: so many calls at the same time, 1 to 100000; null: none.';
COMMENT ON CONSTRAINT blocks_scope ON public.blocks IS 'choose account, user, device, source or all';
COMMENT ON CONSTRAINT blocks_what ON public.blocks IS
    'write the first digits of a number with +, such as +88213, a country such as TN, premium, shared_cost, satellite, high_risk, '
    'international, national, unallocated or outside, or * for everything';
COMMENT ON CONSTRAINT blocks_subject ON public.blocks IS
    'write an account name, account/user, device@domain or an IP address, as the scope says, or * for scope all';
COMMENT ON CONSTRAINT blocks_everything ON public.blocks IS
    'name a prefix, such as +88213: scope all with what * would stop every call';
COMMENT ON CONSTRAINT blocks_capped ON public.blocks IS 'a cap counts all calls (what *) of an account, user or device';
COMMENT ON CONSTRAINT blocks_most ON public.blocks IS 'let there be 1 to 100000 calls at the same time';
COMMENT ON CONSTRAINT blocks_incident_fkey ON public.blocks IS 'there is no such incident';

CREATE OR REPLACE FUNCTION control.check_block() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    home text;
    emergency record;
BEGIN
    IF NEW.scope = 'account' THEN
        SELECT a.country INTO home FROM public.accounts AS a WHERE a.name = NEW.subject;
    ELSIF NEW.scope = 'user' THEN
        SELECT a.country INTO home
        FROM public.users AS u
        JOIN public.accounts AS a ON a.id = u.account_id
        WHERE a.name = split_part(NEW.subject, '/', 1) AND u.name = split_part(NEW.subject, '/', 2);
    ELSIF NEW.scope = 'device' THEN
        SELECT a.country INTO home
        FROM public.devices AS d
        JOIN public.domains AS m ON m.id = d.domain_id
        JOIN public.accounts AS a ON a.id = d.account_id
        WHERE d.name = split_part(NEW.subject, '@', 1) AND m.name = split_part(NEW.subject, '@', 2);
    END IF;
    IF NEW.scope IN ('account', 'user', 'device') AND home IS NULL THEN
        RAISE EXCEPTION 'block %: there is no % of that name', NEW.subject, NEW.scope
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'blocks', COLUMN = 'subject',
                  CONSTRAINT = 'blocks_known',
                  HINT = format('Write the subject as in the table %ss (a device as name@domain, a user as account/name).', NEW.scope);
    END IF;
    SELECT n.country, n.number INTO emergency
    FROM public.emergency_numbers AS n
    JOIN public.countries AS c ON c.code = n.country
    WHERE n.country = coalesce(home, n.country)
        AND NEW.what IN ('+' || n.number, '+' || c.calling_code || n.number)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'block % of % %: % is an emergency number of %',
            NEW.what, NEW.scope, NEW.subject, emergency.number, emergency.country
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'blocks', COLUMN = 'what',
                  CONSTRAINT = 'blocks_emergency',
                  HINT = 'Emergency numbers are never blocked. Block another prefix.';
    END IF;
    RETURN NEW;
END
$$;

CREATE FUNCTION control.publish_blocks_of(scopes text[], subjects text[], whats text[], why text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    items jsonb;
BEGIN
    WITH touched AS (
        SELECT DISTINCT t.scope, t.subject, t.what FROM unnest(scopes, subjects, whats) AS t (scope, subject, what)
    ), held AS (
        -- Of several blocks of the same the one that ends last.
        SELECT DISTINCT ON (b.scope, b.subject, b.what) b.*
        FROM touched JOIN public.blocks AS b USING (scope, subject, what)
        WHERE b.most IS NULL
        ORDER BY b.scope, b.subject, b.what, b.expires_at DESC NULLS FIRST, b.incident_id DESC NULLS FIRST
    ), whom AS (
        SELECT DISTINCT t.scope, t.subject FROM touched AS t
    ), summary AS (
        SELECT w.scope, w.subject, nullif(concat_ws(';',
            'lengths=' || string_agg(DISTINCT to_char(length(b.what), 'FM00'), ',' ORDER BY to_char(length(b.what), 'FM00') DESC)
                FILTER (WHERE b.what ^@ '+'),
            CASE WHEN bool_or(b.what ~ '^[A-Za-z]' AND b.what <> 'outside') THEN 'class=1' END,
            CASE WHEN bool_or(b.what = 'outside') THEN 'outside=1' END,
            CASE WHEN bool_or(b.what = '*' AND b.most IS NULL) THEN 'all=1' END,
            (array_agg(format('most=%s;until=%s', b.most, coalesce(ceil(extract(epoch FROM b.expires_at))::bigint, 4102444800))
                       ORDER BY b.most) FILTER (WHERE b.most IS NOT NULL))[1]
        ), '') AS value
        FROM whom AS w LEFT JOIN public.blocks AS b USING (scope, subject)
        GROUP BY w.scope, w.subject
    ), item AS (
        SELECT concat_ws(':', t.scope, t.subject, t.what) AS key, t.scope, t.subject,
            h.reason || coalesce(';incident=' || h.incident_id, '')
                || coalesce(';until=' || ceil(extract(epoch FROM h.expires_at))::bigint, '') AS value
        FROM touched AS t LEFT JOIN held AS h USING (scope, subject, what)
        UNION ALL
        SELECT concat_ws(':', s.scope, s.subject), s.scope, s.subject, s.value FROM summary AS s
    )
    SELECT jsonb_agg(jsonb_build_object(
        'kind', 'edge', 'scope', '*', 'tbl', 'block', 'key', i.key, 'value', i.value,
        'account', CASE i.scope WHEN 'account' THEN i.subject WHEN 'user' THEN split_part(i.subject, '/', 1) END
    )) INTO items FROM item AS i;
    IF items IS NOT NULL THEN
        PERFORM control.publish_operational(items, why);
    END IF;
END
$$;
COMMENT ON FUNCTION control.publish_blocks_of IS
    'Publishes what is blocked now under these names: each block, and for each subject what there can be.';

CREATE OR REPLACE FUNCTION control.publish_blocks() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    scopes text[] := '{}';
    subjects text[] := '{}';
    whats text[] := '{}';
    one record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('dialplane.publish'));
    IF TG_OP <> 'INSERT' THEN
        SELECT array_agg(o.scope) AS scopes, array_agg(o.subject) AS subjects, array_agg(o.what) AS whats INTO one
        FROM old_rows AS o;
        scopes := one.scopes; subjects := one.subjects; whats := one.whats;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        SELECT array_agg(n.scope) AS scopes, array_agg(n.subject) AS subjects, array_agg(n.what) AS whats INTO one
        FROM new_rows AS n;
        scopes := scopes || one.scopes; subjects := subjects || one.subjects; whats := whats || one.whats;
    END IF;
    PERFORM control.publish_blocks_of(
        scopes, subjects, whats,
        CASE TG_OP WHEN 'INSERT' THEN 'block set' WHEN 'DELETE' THEN 'block lifted' ELSE 'block changed' END
    );
    RETURN NULL;
END
$$;

-- What rules may not block: edges look when a rule's block would stop a call. Few rows, so all of them are looked at.
CREATE FUNCTION control.publish_allows() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    items jsonb;
BEGIN
    IF TG_TABLE_NAME <> 'fraud_allows' AND NOT EXISTS (SELECT FROM public.fraud_allows) THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('dialplane.publish'));
    WITH named AS (
        SELECT CASE
                WHEN r.device_id IS NOT NULL THEN 'device:' || d.name || '@' || o.name
                WHEN r.user_id IS NOT NULL THEN 'user:' || a.name || '/' || u.name
                WHEN r.account_id IS NOT NULL THEN 'account:' || a.name
                WHEN r.source IS NOT NULL THEN 'source:' || host(r.source)
                ELSE 'all:*'
            END || ':' || r.what AS key, a.name AS account, r.expires_at
        FROM public.fraud_allows AS r
        LEFT JOIN public.accounts AS a ON a.id = r.account_id
        LEFT JOIN public.users AS u ON u.id = r.user_id
        LEFT JOIN public.devices AS d ON d.id = r.device_id
        LEFT JOIN public.domains AS o ON o.id = d.domain_id
        -- An owner and an address together are for rules to know: where a call is blocked, its address may be a media node's.
        WHERE r.account_id IS NULL OR r.source IS NULL
    ), wanted AS (
        SELECT DISTINCT ON (n.key) n.key, n.account,
            'allowed=1' || coalesce(';until=' || ceil(extract(epoch FROM n.expires_at))::bigint, '') AS value
        FROM named AS n WHERE n.key IS NOT NULL ORDER BY n.key, n.expires_at DESC NULLS FIRST
    ), there AS (
        SELECT e.key, e.account FROM control.entries AS e WHERE e.kind = 'edge' AND e.scope = '*' AND e.tbl = 'allow'
    )
    SELECT jsonb_agg(jsonb_build_object(
        'kind', 'edge', 'scope', '*', 'tbl', 'allow', 'key', key, 'value', w.value, 'account', coalesce(w.account, t.account)
    )) INTO items FROM wanted AS w FULL JOIN there AS t USING (key);
    IF items IS NOT NULL THEN
        PERFORM control.publish_operational(items, 'allow-list of fraud changed');
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.publish_allows IS 'Publishes table allow as fraud_allows, and the names in it, are now.';
CREATE TRIGGER publish AFTER INSERT OR UPDATE OR DELETE ON public.fraud_allows
    FOR EACH STATEMENT EXECUTE FUNCTION control.publish_allows();
CREATE TRIGGER publish_allows AFTER UPDATE OF name ON public.accounts
    FOR EACH STATEMENT EXECUTE FUNCTION control.publish_allows();
CREATE TRIGGER publish_allows AFTER UPDATE OF name ON public.users
    FOR EACH STATEMENT EXECUTE FUNCTION control.publish_allows();
CREATE TRIGGER publish_allows AFTER UPDATE OF name, domain_id ON public.devices
    FOR EACH STATEMENT EXECUTE FUNCTION control.publish_allows();
CREATE TRIGGER publish_allows AFTER UPDATE OF name ON public.domains
    FOR EACH STATEMENT EXECUTE FUNCTION control.publish_allows();

-- An incident that ends says when and by whom.
CREATE FUNCTION control.end_incident() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF OLD.state = 'open' AND NEW.state <> 'open' THEN
        NEW.ended_at := coalesce(NEW.ended_at, clock_timestamp());
        NEW.ended_by := coalesce(NEW.ended_by, control.actor());
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION control.end_incident IS 'Notes when an incident ended, and who ended it.';
CREATE TRIGGER end_incident BEFORE UPDATE ON public.fraud_incidents
    FOR EACH ROW EXECUTE FUNCTION control.end_incident();

CREATE FUNCTION control.follow_incidents() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    over bigint[];
BEGIN
    SELECT array_agg(n.id) INTO over
    FROM new_rows AS n JOIN old_rows AS o ON o.id = n.id WHERE o.state = 'open' AND n.state <> 'open';
    IF over IS NOT NULL THEN
        DELETE FROM public.blocks AS b WHERE b.incident_id = ANY (over);
        -- What was said, hung up, removed or changed stays so; what still was to be done is not.
        UPDATE control.fraud_actions AS a SET state = 'undone', done_at = coalesce(a.done_at, clock_timestamp())
        WHERE a.incident_id = ANY (over) AND (
            a.state = 'pending'
            OR (a.state = 'done' AND a.action IN ('block_destination', 'cap_calls', 'outbound_off', 'block_source', 'suspend'))
        );
    END IF;
    UPDATE public.blocks AS b SET expires_at = n.until
    FROM new_rows AS n JOIN old_rows AS o ON o.id = n.id
    WHERE b.incident_id = n.id AND n.state = 'open' AND n.until <> o.until;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.follow_incidents IS
    'Lifts the blocks of incidents that are over, and moves the end of those whose incident ends at another time.';
CREATE TRIGGER follow_update AFTER UPDATE ON public.fraud_incidents
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.follow_incidents();

CREATE FUNCTION control.tell_incident() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('dialplane_fraud', NEW.id::text);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.tell_incident IS 'Channel dialplane_fraud: number of an incident that is new, or over.';
CREATE TRIGGER tell_insert AFTER INSERT ON public.fraud_incidents FOR EACH ROW EXECUTE FUNCTION control.tell_incident();
CREATE TRIGGER tell_update AFTER UPDATE ON public.fraud_incidents
    FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION control.tell_incident();

CREATE OR REPLACE FUNCTION control.release_expired_blocks() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    released bigint;
BEGIN
    DELETE FROM public.blocks WHERE expires_at <= clock_timestamp();
    GET DIAGNOSTICS released = ROW_COUNT;
    UPDATE public.fraud_incidents SET state = 'released', ended_by = 'time' WHERE state = 'open' AND until <= clock_timestamp();
    RETURN released;
END
$$;
COMMENT ON FUNCTION control.release_expired_blocks IS
    'Deletes the blocks whose time is over, and ends the incidents whose time is; how many blocks.';

DO $$
DECLARE
    one constant text := 'r.rule || ''/'' || r.scope || '':'' || r.subject';
BEGIN
    EXECUTE format(
        'CREATE TRIGGER log_insert AFTER INSERT ON public.fraud_incidents REFERENCING NEW TABLE AS new_rows
             FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%1$L, ''NULL::text'', '''', ''false'', ''operational'', ''{}'', '''');
         CREATE TRIGGER log_update AFTER UPDATE ON public.fraud_incidents
             REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
             FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%1$L, ''NULL::text'', '''', ''false'', ''operational'', ''{}'', '''');
         CREATE TRIGGER log_delete AFTER DELETE ON public.fraud_incidents REFERENCING OLD TABLE AS old_rows
             FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%1$L, ''NULL::text'', '''', ''false'', ''operational'', ''{}'', '''');
         CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.fraud_incidents
             FOR EACH STATEMENT EXECUTE FUNCTION control.refuse_truncate()', one);
END
$$;
GRANT SELECT ON public.fraud_incidents, control.fraud_actions TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT INSERT, UPDATE, DELETE ON public.fraud_incidents TO dialplane_admin, dialplane_controller;
GRANT INSERT, UPDATE ON control.fraud_actions TO dialplane_admin, dialplane_controller;

COMMENT ON COLUMN public.fraud_rules.actions IS
    'What follows a critical verdict: notify, block_destination, cap_calls, outbound_off, end_calls, block_source, unregister, '
    'rotate, suspend.';
COMMENT ON COLUMN public.fraud_permissions.mode IS 'observe: it only says what it would do; enforce.';

-- What was published before in another form.
UPDATE public.blocks SET reason = reason;
UPDATE public.fraud_allows SET reason = reason;

CALL control.explain_refusals();
