-- What edges say is heard at once: `dialplane fraud serve` (controller/fraud/serve.py) reads control.call_events in the order
-- of ids, and keeps its verdicts.

DO $$
BEGIN
    CREATE ROLE dialplane_fraud NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the role dialplane_fraud does not exist and % may not create roles', current_user
            USING HINT = 'Let a database administrator run: CREATE ROLE dialplane_fraud NOLOGIN;',
                  ERRCODE = 'insufficient_privilege';
END
$$;

-- Most rows are of media nodes, which nobody waits for: they cost neither an entry of the index nor a notification.
CREATE FUNCTION control.tell_fact() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('dialplane_fact', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.tell_fact() IS 'Channel dialplane_fact: an edge said something.';
CREATE TRIGGER tell_insert AFTER INSERT ON control.call_events
    FOR EACH ROW WHEN (
        NEW.event IN ('start', 'failed', 'answered', 'end', 'gone', 'restart', 'registered', 'refused_sign_in', 'message')
    )
    EXECUTE FUNCTION control.tell_fact();
CREATE INDEX call_events_edges ON control.call_events (at) WHERE
    event IN ('start', 'failed', 'answered', 'end', 'gone', 'restart', 'registered', 'refused_sign_in', 'message');

COMMENT ON TABLE control.call_events IS
    'What edges and media nodes said about calls, line by line; about devices that registered, sign-ins that failed, messages.';
COMMENT ON COLUMN control.call_events.call_id IS
    'The call (X-DP-Call). linked:<node>/<linkedid>: of a media node, before the call was known; node:<node>: about a server; '
    'device:<address of record>: it registered; source:<address>: a sign-in from there failed; message:<id>.';

CREATE TABLE control.fraud_verdicts (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT fraud_verdicts_pkey PRIMARY KEY,
    rule text NOT NULL,
    owner text NOT NULL,
    scope text NOT NULL CONSTRAINT fraud_verdicts_scope CHECK (
        scope IN ('device', 'user', 'group', 'account', 'reseller', 'source')
    ),
    subject text NOT NULL,
    account text,
    level text NOT NULL CONSTRAINT fraud_verdicts_level CHECK (level IN ('warning', 'critical', 'released')),
    mode text NOT NULL CONSTRAINT fraud_verdicts_mode CHECK (mode IN ('observe', 'enforce')),
    actions text[] NOT NULL,
    value double precision NOT NULL,
    threshold double precision NOT NULL,
    factor double precision NOT NULL DEFAULT 1,
    at timestamptz NOT NULL,
    until timestamptz NOT NULL,
    evidence text[] NOT NULL DEFAULT '{}',
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT fraud_verdicts_key UNIQUE (rule, owner, subject, level, at)
);
CREATE INDEX fraud_verdicts_until ON control.fraud_verdicts (until);
CREATE INDEX fraud_verdicts_account ON control.fraud_verdicts (account, at);
COMMENT ON TABLE control.fraud_verdicts IS
    'What the rules of fraud found while it happened, once each. A verdict is in force from at until until.';
COMMENT ON COLUMN control.fraud_verdicts.id IS 'Number of the row.';
COMMENT ON COLUMN control.fraud_verdicts.rule IS 'Name of the rule; permission-<class>: a class that may not be called.';
COMMENT ON COLUMN control.fraud_verdicts.owner IS 'Whom that rule is for: everybody, account acme, device desk1@acme.example, ...';
COMMENT ON COLUMN control.fraud_verdicts.scope IS 'What the rule counts for.';
COMMENT ON COLUMN control.fraud_verdicts.subject IS 'Who it is about: a device, account/user, account/group, an account, an address.';
COMMENT ON COLUMN control.fraud_verdicts.account IS 'Account of what was seen last; null: nobody''s.';
COMMENT ON COLUMN control.fraud_verdicts.level IS 'warning, critical, or released: the one before holds no more.';
COMMENT ON COLUMN control.fraud_verdicts.mode IS 'observe: the rule only says what it would do; enforce.';
COMMENT ON COLUMN control.fraud_verdicts.actions IS 'What it brings about, or would if the rule enforced.';
COMMENT ON COLUMN control.fraud_verdicts.value IS 'What the rule''s metric was.';
COMMENT ON COLUMN control.fraud_verdicts.threshold IS 'What it reached.';
COMMENT ON COLUMN control.fraud_verdicts.factor IS 'How many times the account''s own history raised that; 1: not.';
COMMENT ON COLUMN control.fraud_verdicts.at IS 'Since when.';
COMMENT ON COLUMN control.fraud_verdicts.until IS 'It ends by itself then.';
COMMENT ON COLUMN control.fraud_verdicts.evidence IS 'What was seen last: number, call, address, user agent, as far as known.';
COMMENT ON COLUMN control.fraud_verdicts.written_at IS 'When it was written.';
COMMENT ON CONSTRAINT fraud_verdicts_scope ON control.fraud_verdicts IS 'scope is device, user, group, account, reseller or source';
COMMENT ON CONSTRAINT fraud_verdicts_level ON control.fraud_verdicts IS 'level is warning, critical or released';
COMMENT ON CONSTRAINT fraud_verdicts_mode ON control.fraud_verdicts IS 'mode is observe or enforce';
COMMENT ON CONSTRAINT fraud_verdicts_key ON control.fraud_verdicts IS 'a verdict is said once';

CREATE TABLE control.fraud_usual (
    account text NOT NULL,
    rule text NOT NULL,
    value double precision NOT NULL,
    computed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT fraud_usual_pkey PRIMARY KEY (account, rule)
);
COMMENT ON TABLE control.fraud_usual IS
    'What accounts reach on a busy day of their own, from four weeks of call records, made anew every day: thresholds follow it.';
COMMENT ON COLUMN control.fraud_usual.account IS 'Account; empty: when that was done, if nobody has a history.';
COMMENT ON COLUMN control.fraud_usual.rule IS 'Name of the rule whose metric it is.';
COMMENT ON COLUMN control.fraud_usual.value IS 'The median of its days.';
COMMENT ON COLUMN control.fraud_usual.computed_at IS 'When it was made.';

CREATE FUNCTION control.forget_verdicts(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    days integer;
    removed bigint;
BEGIN
    days := nullif(coalesce(
        (SELECT s.value FROM public.settings AS s WHERE s.name = 'fraud_verdicts_keep_days'), '400'), 'forever')::integer;
    DELETE FROM control.fraud_verdicts AS v WHERE v.ctid = ANY (ARRAY(
        SELECT o.ctid FROM control.fraud_verdicts AS o
        WHERE o.until < clock_timestamp() - make_interval(days => days) LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    RETURN removed;
END
$$;
COMMENT ON FUNCTION control.forget_verdicts IS
    'Removes verdicts that are over for longer than the setting fraud_verdicts_keep_days (400; forever) says, at most so many; '
    'how many.';
COMMENT ON COLUMN public.settings.name IS
    'Name of the setting. zone: internal DNS zone between edges and media nodes; device_zone (phones.<zone>): DNS zone of the '
    'names that phones are provisioned with; name_servers (ns1.<zone>): host names joined with commas, each with /address '
    'where it lies in our zones; dns_ttl_s (5): how long answers are kept; dns_negative_ttl_s (dns_ttl_s): how long that there '
    'is no such name; dns_refresh_s (10): how often secondary name servers ask for changes; '
    'recordings_keep_days: recordings of accounts '
    'that say nothing of their own are removed after so many days; queue_events_keep_days (400), call_events_keep_days (90), '
    'change_log_keep_days (90), audit_keep_days (forever), messages_keep_days (400), fraud_verdicts_keep_days (400): rows of '
    'these logs are removed after so many days.';

-- The engine of fraud: whose a call is, what happened, what it found. No secret, no text of a message, no row of people's to write.
GRANT USAGE ON SCHEMA public, control TO dialplane_fraud;
GRANT SELECT ON public.fraud_rules, public.fraud_allows, public.fraud_permissions, public.accounts, public.countries,
    public.users, public.domains, public.groups, public.group_members TO dialplane_fraud;
GRANT SELECT (id, account_id, domain_id, user_id, name, enabled) ON public.devices TO dialplane_fraud;
GRANT SELECT ON control.call_events, control.call_records, control.change_log TO dialplane_fraud;
GRANT SELECT (at, tbl, key, verb) ON control.audit TO dialplane_fraud;
GRANT SELECT, INSERT ON control.fraud_verdicts TO dialplane_fraud;
GRANT SELECT, INSERT, DELETE ON control.fraud_usual TO dialplane_fraud;
GRANT EXECUTE ON FUNCTION control.forget_verdicts TO dialplane_fraud, dialplane_controller, dialplane_admin;
GRANT SELECT ON control.fraud_verdicts, control.fraud_usual TO dialplane_admin, dialplane_controller, dialplane_reader;

CALL control.explain_refusals();
