-- What fraud looks like: rules, what is allowed whatever they say, and which classes of numbers may be called at all. Rows add
-- to the rules that come with dialplane (controller/fraud/defaults.py), and replace them by name. Nothing on nodes needs them.

CREATE TABLE public.fraud_rules (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT fraud_rules_pkey PRIMARY KEY,
    name public.word NOT NULL,
    account_id bigint CONSTRAINT fraud_rules_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    user_id bigint,
    group_id bigint,
    device_id bigint,
    metric text NOT NULL,
    scope text NOT NULL
        CONSTRAINT fraud_rules_scope CHECK (scope IN ('device', 'user', 'group', 'account', 'reseller', 'source')),
    destinations text[] NOT NULL DEFAULT '{any}',
    window_s integer NOT NULL CONSTRAINT fraud_rules_window CHECK (window_s BETWEEN 1 AND 2678400),
    days text[],
    from_time time,
    to_time time,
    at_least integer NOT NULL DEFAULT 0 CONSTRAINT fraud_rules_at_least CHECK (at_least BETWEEN 0 AND 100000),
    warning double precision,
    critical double precision,
    baseline double precision CONSTRAINT fraud_rules_baseline CHECK (baseline BETWEEN 1 AND 100),
    new_account_days integer CONSTRAINT fraud_rules_new_account CHECK (new_account_days BETWEEN 1 AND 3650),
    actions text[] NOT NULL DEFAULT '{notify}',
    release_s integer NOT NULL DEFAULT 86400 CONSTRAINT fraud_rules_release CHECK (release_s BETWEEN 1 AND 31536000),
    mode text NOT NULL DEFAULT 'observe' CONSTRAINT fraud_rules_mode CHECK (mode IN ('observe', 'enforce')),
    enabled boolean NOT NULL DEFAULT true,
    comment public.label,
    CONSTRAINT fraud_rules_name_key UNIQUE NULLS NOT DISTINCT (name, account_id, user_id, group_id, device_id),
    CONSTRAINT fraud_rules_user_fkey FOREIGN KEY (account_id, user_id)
        REFERENCES public.users (account_id, id) ON DELETE CASCADE,
    CONSTRAINT fraud_rules_group_fkey FOREIGN KEY (account_id, group_id)
        REFERENCES public.groups (account_id, id) ON DELETE CASCADE,
    CONSTRAINT fraud_rules_device_fkey FOREIGN KEY (account_id, device_id)
        REFERENCES public.devices (account_id, id) ON DELETE CASCADE,
    CONSTRAINT fraud_rules_name CHECK (name !~ '^permission-'),
    CONSTRAINT fraud_rules_owner CHECK (
        num_nonnulls(user_id, group_id, device_id) <= CASE WHEN account_id IS NULL THEN 0 ELSE 1 END
    ),
    CONSTRAINT fraud_rules_metric CHECK (metric IN (
        'calls', 'answered', 'messages', 'concurrent', 'sequential', 'running_s', 'minutes', 'cost', 'destinations',
        'new_destinations', 'short_pct', 'failed_auth', 'failed_names', 'same_tail', 'prefix_calls', 'prefix_concurrent',
        'prefix_messages',
        'unanswered_codes', 'new_sources', 'new_agents', 'impossible_travel'
    )),
    CONSTRAINT fraud_rules_names CHECK (metric <> 'failed_names' OR scope = 'source'),
    CONSTRAINT fraud_rules_destinations CHECK (
        cardinality(destinations) BETWEEN 1 AND 100 AND array_position(destinations, NULL) IS NULL
        AND array_to_string(destinations, ' ') || ' ' ~ ('^((any|internal|freephone|national|mobile|shared_cost|premium|'
            'international|high_risk|satellite|unallocated|[A-Z]{2}|\+[1-9][0-9]{0,14}) )+$')
    ),
    CONSTRAINT fraud_rules_somewhere CHECK (
        destinations = '{any}' OR metric NOT IN (
            'failed_auth', 'failed_names', 'new_sources', 'new_agents', 'impossible_travel'
        )
    ),
    CONSTRAINT fraud_rules_days CHECK (cardinality(days) > 0 AND days <@ '{mon,tue,wed,thu,fri,sat,sun}'),
    CONSTRAINT fraud_rules_times CHECK (
        (from_time IS NULL) = (to_time IS NULL)
        AND (from_time IS NULL OR extract(second FROM from_time) = 0 AND extract(second FROM to_time) = 0 AND from_time < '24:00')
    ),
    CONSTRAINT fraud_rules_thresholds CHECK (
        (warning IS NOT NULL OR critical IS NOT NULL) AND coalesce(warning, 1) > 0 AND coalesce(critical, 1) > 0
        AND coalesce(warning, 1) < 'Infinity' AND coalesce(critical, 1) < 'Infinity'
        AND coalesce(warning <= critical, true)
    ),
    CONSTRAINT fraud_rules_actions CHECK (
        cardinality(actions) > 0 AND array_position(actions, NULL) IS NULL AND actions <@ '{notify,block_destination,cap_calls,outbound_off,end_calls,block_source,unregister,rotate,suspend}'
    )
);
CREATE INDEX fraud_rules_account ON public.fraud_rules (account_id);
CREATE INDEX fraud_rules_user ON public.fraud_rules (user_id);
CREATE INDEX fraud_rules_group ON public.fraud_rules (group_id);
CREATE INDEX fraud_rules_device ON public.fraud_rules (device_id);
COMMENT ON TABLE public.fraud_rules IS
    'What fraud looks like. Rules of one name are a family: of those that fit, the most specific holds (device, user, group, '
    'account, everybody), and a row replaces the rule of that name that comes with dialplane.';
COMMENT ON COLUMN public.fraud_rules.id IS 'Number of the row.';
COMMENT ON COLUMN public.fraud_rules.name IS 'Name of the family, one word.';
COMMENT ON COLUMN public.fraud_rules.account_id IS 'Account that it holds for; null: everybody.';
COMMENT ON COLUMN public.fraud_rules.user_id IS 'User that it holds for; null: all of the account.';
COMMENT ON COLUMN public.fraud_rules.group_id IS 'Group whose members it holds for; null: all of the account.';
COMMENT ON COLUMN public.fraud_rules.device_id IS 'Device that it holds for; null: all of the account.';
COMMENT ON COLUMN public.fraud_rules.metric IS
    'What is counted: calls, answered, messages; concurrent; sequential (numbers that follow one another); running_s (the longest '
    'call that is up); minutes, cost; destinations (different numbers); new_destinations (calls to countries first called in the '
    'window); short_pct (percent of numbers that were called for less than 10 s); failed_auth, failed_names; same_tail (prefixes before '
    'the same digits); prefix_calls, prefix_concurrent, prefix_messages (to the same 10,000 numbers); unanswered_codes; new_sources, new_agents; impossible_travel.';
COMMENT ON COLUMN public.fraud_rules.scope IS 'For whom it is counted: each device, user, group, account, reseller or source address.';
COMMENT ON COLUMN public.fraud_rules.destinations IS
    'Which numbers count: any (every number outside), classes (internal, freephone, national, mobile, shared_cost, premium, '
    'international, high_risk, satellite, unallocated), countries such as TN, prefixes such as +88213.';
COMMENT ON COLUMN public.fraud_rules.window_s IS 'Over how many seconds, 1 to 2678400 (31 days).';
COMMENT ON COLUMN public.fraud_rules.days IS 'Days of the week on which it counts, {mon,tue,wed,thu,fri,sat,sun}; null: all.';
COMMENT ON COLUMN public.fraud_rules.from_time IS 'It counts from this minute on, by the account''s clock; null: all day.';
COMMENT ON COLUMN public.fraud_rules.to_time IS
    'It does not count from this minute on; not after from_time: over midnight, and of the day it began. Null: all day.';
COMMENT ON COLUMN public.fraud_rules.at_least IS 'short_pct is judged from so many different numbers on, 0 to 100000.';
COMMENT ON COLUMN public.fraud_rules.warning IS 'Value from which somebody is told; null: nobody is.';
COMMENT ON COLUMN public.fraud_rules.critical IS 'Value from which the actions follow; null: they never do.';
COMMENT ON COLUMN public.fraud_rules.baseline IS
    'Both are no less than so many times what the account reaches on its usual days, 1 to 100, 20 times as high at most; null: '
    'its history does not matter.';
COMMENT ON COLUMN public.fraud_rules.new_account_days IS 'It holds for accounts younger than so many days, 1 to 3650; null: for all.';
COMMENT ON COLUMN public.fraud_rules.actions IS
    'What follows a critical verdict: notify, block_destination, cap_calls, outbound_off, end_calls, block_source, unregister, '
    'rotate, suspend. Nothing acts upon it yet.';
COMMENT ON COLUMN public.fraud_rules.release_s IS 'After how many seconds a verdict ends by itself, 1 to 31536000 (a year).';
COMMENT ON COLUMN public.fraud_rules.mode IS 'observe: it only says what it would do; enforce.';
COMMENT ON COLUMN public.fraud_rules.enabled IS 'False: the whole family is off for whom this row is for.';
COMMENT ON COLUMN public.fraud_rules.comment IS 'What it is for.';
COMMENT ON CONSTRAINT fraud_rules_name ON public.fraud_rules IS
    'verdicts about permissions are called permission-...: take another name';
COMMENT ON CONSTRAINT fraud_rules_owner ON public.fraud_rules IS
    'set one of user_id, group_id and device_id at most, with its account_id beside it';
COMMENT ON CONSTRAINT fraud_rules_metric ON public.fraud_rules IS
    'choose calls, answered, messages, concurrent, sequential, running_s, minutes, cost, destinations, new_destinations, short_pct, '
    'failed_auth, failed_names, same_tail, prefix_calls, prefix_concurrent, prefix_messages, unanswered_codes, new_sources, new_agents or impossible_travel';
COMMENT ON CONSTRAINT fraud_rules_scope ON public.fraud_rules IS 'choose device, user, group, account, reseller or source';
COMMENT ON CONSTRAINT fraud_rules_names ON public.fraud_rules IS 'failed_names is counted by source: set scope to source';
COMMENT ON CONSTRAINT fraud_rules_destinations ON public.fraud_rules IS
    'name any, classes, countries or prefixes with +, such as {premium,satellite,TN,+88213}';
COMMENT ON CONSTRAINT fraud_rules_somewhere ON public.fraud_rules IS
    'this metric does not go by destinations: leave them {any}';
COMMENT ON CONSTRAINT fraud_rules_window ON public.fraud_rules IS 'count over 1 to 2678400 seconds (31 days)';
COMMENT ON CONSTRAINT fraud_rules_days ON public.fraud_rules IS 'name at least one of mon, tue, wed, thu, fri, sat and sun';
COMMENT ON CONSTRAINT fraud_rules_times ON public.fraud_rules IS
    'give from_time and to_time, both in whole minutes and from_time before 24:00, or neither';
COMMENT ON CONSTRAINT fraud_rules_at_least ON public.fraud_rules IS 'give 0 to 100000';
COMMENT ON CONSTRAINT fraud_rules_thresholds ON public.fraud_rules IS
    'give warning, critical or both, above 0, and critical not below warning';
COMMENT ON CONSTRAINT fraud_rules_baseline ON public.fraud_rules IS
    'let thresholds be 1 to 100 times the usual, or set nothing where history does not matter';
COMMENT ON CONSTRAINT fraud_rules_new_account ON public.fraud_rules IS 'give 1 to 3650 days, or nothing for all accounts';
COMMENT ON CONSTRAINT fraud_rules_actions ON public.fraud_rules IS
    'name at least one of notify, block_destination, cap_calls, outbound_off, end_calls, block_source, unregister, rotate and suspend';
COMMENT ON CONSTRAINT fraud_rules_release ON public.fraud_rules IS 'let it end after 1 to 31536000 seconds (a year)';
COMMENT ON CONSTRAINT fraud_rules_mode ON public.fraud_rules IS 'choose observe or enforce';

CREATE TABLE public.fraud_allows (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT fraud_allows_pkey PRIMARY KEY,
    account_id bigint CONSTRAINT fraud_allows_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    user_id bigint,
    device_id bigint,
    source public.host_address,
    what text NOT NULL DEFAULT '*' CONSTRAINT fraud_allows_what CHECK (what ~ '^(\*|\+[1-9][0-9]{0,14})$'),
    reason public.label NOT NULL,
    expires_at timestamptz,
    CONSTRAINT fraud_allows_key UNIQUE NULLS NOT DISTINCT (account_id, user_id, device_id, source, what),
    CONSTRAINT fraud_allows_user_fkey FOREIGN KEY (account_id, user_id)
        REFERENCES public.users (account_id, id) ON DELETE CASCADE,
    CONSTRAINT fraud_allows_device_fkey FOREIGN KEY (account_id, device_id)
        REFERENCES public.devices (account_id, id) ON DELETE CASCADE,
    CONSTRAINT fraud_allows_owner CHECK (
        num_nonnulls(user_id, device_id) <= CASE WHEN account_id IS NULL THEN 0 ELSE 1 END
    ),
    CONSTRAINT fraud_allows_everything CHECK (num_nonnulls(account_id, source) > 0 OR what <> '*')
);
CREATE INDEX fraud_allows_user ON public.fraud_allows (user_id);
CREATE INDEX fraud_allows_device ON public.fraud_allows (device_id);
COMMENT ON TABLE public.fraud_allows IS 'What no rule of fraud counts or blocks, whatever it says.';
COMMENT ON COLUMN public.fraud_allows.id IS 'Number of the row.';
COMMENT ON COLUMN public.fraud_allows.account_id IS 'Account that may; null: everybody.';
COMMENT ON COLUMN public.fraud_allows.user_id IS 'User that may; null: all of the account.';
COMMENT ON COLUMN public.fraud_allows.device_id IS 'Device that may; null: all of the account.';
COMMENT ON COLUMN public.fraud_allows.source IS 'Address from which they may; null: from anywhere.';
COMMENT ON COLUMN public.fraud_allows.what IS 'First digits of the numbers they may call, with +; *: all, and signing in.';
COMMENT ON COLUMN public.fraud_allows.reason IS 'Why.';
COMMENT ON COLUMN public.fraud_allows.expires_at IS 'When it ends by itself; null: never.';
COMMENT ON CONSTRAINT fraud_allows_what ON public.fraud_allows IS 'write * or the first digits of numbers with +, such as +22177';
COMMENT ON CONSTRAINT fraud_allows_owner ON public.fraud_allows IS
    'set user_id or device_id, or neither, with the account_id beside it';
COMMENT ON CONSTRAINT fraud_allows_everything ON public.fraud_allows IS
    'that would allow everybody everything: name an account, a source or numbers';

CREATE TABLE public.fraud_permissions (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT fraud_permissions_pkey PRIMARY KEY,
    account_id bigint CONSTRAINT fraud_permissions_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    user_id bigint,
    class text NOT NULL CONSTRAINT fraud_permissions_class CHECK (class IN (
        'internal', 'freephone', 'national', 'mobile', 'shared_cost', 'premium', 'international', 'high_risk', 'satellite',
        'unallocated'
    )),
    allowed boolean NOT NULL,
    mode text NOT NULL DEFAULT 'enforce' CONSTRAINT fraud_permissions_mode CHECK (mode IN ('observe', 'enforce')),
    CONSTRAINT fraud_permissions_key UNIQUE NULLS NOT DISTINCT (account_id, user_id, class),
    CONSTRAINT fraud_permissions_user_fkey FOREIGN KEY (account_id, user_id)
        REFERENCES public.users (account_id, id) ON DELETE CASCADE,
    CONSTRAINT fraud_permissions_owner CHECK (user_id IS NULL OR account_id IS NOT NULL)
);
CREATE INDEX fraud_permissions_user ON public.fraud_permissions (user_id);
COMMENT ON TABLE public.fraud_permissions IS
    'Which classes of numbers may be called at all: the row of the user holds, else that of the account, else that of everybody, '
    'else what comes with dialplane: all but premium and satellite.';
COMMENT ON COLUMN public.fraud_permissions.id IS 'Number of the row.';
COMMENT ON COLUMN public.fraud_permissions.account_id IS 'Account that it holds for; null: everybody.';
COMMENT ON COLUMN public.fraud_permissions.user_id IS 'User that it holds for; null: all of the account.';
COMMENT ON COLUMN public.fraud_permissions.class IS
    'internal, freephone, national, mobile, shared_cost, premium, international, high_risk, satellite or unallocated.';
COMMENT ON COLUMN public.fraud_permissions.allowed IS 'Whether they may.';
COMMENT ON COLUMN public.fraud_permissions.mode IS 'observe: it only says what it would do; enforce. Nothing acts upon it yet.';
COMMENT ON CONSTRAINT fraud_permissions_class ON public.fraud_permissions IS
    'choose internal, freephone, national, mobile, shared_cost, premium, international, high_risk, satellite or unallocated';
COMMENT ON CONSTRAINT fraud_permissions_mode ON public.fraud_permissions IS 'choose observe or enforce';
COMMENT ON CONSTRAINT fraud_permissions_owner ON public.fraud_permissions IS 'a user needs its account_id beside it';

DO $$
DECLARE
    one record;
    joins constant text := 'LEFT JOIN public.accounts AS a ON a.id = r.account_id '
        'LEFT JOIN public.users AS u ON u.id = r.user_id';
    device constant text := ' LEFT JOIN public.devices AS d ON d.id = r.device_id';
BEGIN
    FOR one IN
        SELECT * FROM (VALUES
            ('fraud_rules', 'concat_ws(''/'', r.name, coalesce(a.name, ''*''), u.name, g.name, d.name)',
             joins || device || ' LEFT JOIN public.groups AS g ON g.id = r.group_id',
             '(num_nonnulls(r.account_id, r.user_id, r.group_id, r.device_id) > num_nonnulls(a.id, u.id, g.id, d.id))'),
            ('fraud_allows', 'concat_ws(''/'', coalesce(a.name, ''*''), u.name, d.name, host(r.source), r.what)',
             joins || device, '(num_nonnulls(r.account_id, r.user_id, r.device_id) > num_nonnulls(a.id, u.id, d.id))'),
            ('fraud_permissions', 'concat_ws(''/'', coalesce(a.name, ''*''), u.name, r.class)', joins,
             '(num_nonnulls(r.account_id, r.user_id) > num_nonnulls(a.id, u.id))')
        ) AS spec (tbl, key, joins, owner_gone)
    LOOP
        EXECUTE format(
            'CREATE TRIGGER log_insert AFTER INSERT ON public.%1$I REFERENCING NEW TABLE AS new_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, ''a.name'', %3$L, %4$L, ''operational'', ''{}'', '''');
             CREATE TRIGGER log_update AFTER UPDATE ON public.%1$I
                 REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, ''a.name'', %3$L, %4$L, ''operational'', ''{}'', '''');
             CREATE TRIGGER log_delete AFTER DELETE ON public.%1$I REFERENCING OLD TABLE AS old_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, ''a.name'', %3$L, %4$L, ''operational'', ''{}'', '''');
             CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.%1$I
                 FOR EACH STATEMENT EXECUTE FUNCTION control.refuse_truncate();
             GRANT SELECT ON public.%1$I TO dialplane_admin, dialplane_controller, dialplane_reader;
             GRANT INSERT, UPDATE, DELETE ON public.%1$I TO dialplane_admin',
            one.tbl, one.key, one.joins, one.owner_gone
        );
    END LOOP;
END
$$;

CALL control.explain_refusals();
