-- What is decided per call: caller lists, schedules, policies, forwardings, menus, groups.
-- Rows name each other by id, so a new name is carried along; steps and targets name by text, see 0201.

CREATE DOMAIN public.caller_pattern AS text
    CONSTRAINT caller_pattern_form CHECK (
        VALUE ~ '^(anonymous|\+[1-9][0-9]{0,14}\*|\+[1-9][0-9]{4,14}|[0-9]{1,16})$'
    );
COMMENT ON DOMAIN public.caller_pattern IS
    'Who calls: +4930* (numbers that begin so), +49301234567, 101 (extension of the account) or anonymous.';
COMMENT ON CONSTRAINT caller_pattern_form ON DOMAIN public.caller_pattern IS
    'a caller: +4930* (numbers that begin so), +49301234567, 101 (an extension) or anonymous';

CREATE DOMAIN public.called_pattern AS text
    CONSTRAINT called_pattern_form CHECK (VALUE ~ '^(\+[1-9][0-9]{0,14}\*|\+[1-9][0-9]{4,14}|[0-9*]{1,16})$');
COMMENT ON DOMAIN public.called_pattern IS
    'What was called: +4930* (numbers that begin so), +49301234567 or 600 (extension of the account).';
COMMENT ON CONSTRAINT called_pattern_form ON DOMAIN public.called_pattern IS
    'what was called: +4930* (numbers that begin so), +49301234567 or 600 (an extension)';

CREATE DOMAIN public.sound AS text
    CONSTRAINT sound_form CHECK (VALUE ~ '^[a-z][a-z0-9_-]{0,31}(/[a-z0-9][a-z0-9_-]{0,31}){0,3}$');
COMMENT ON DOMAIN public.sound IS 'Name of a sound file without its ending, such as vm-goodbye or acme/welcome.';
COMMENT ON CONSTRAINT sound_form ON DOMAIN public.sound IS
    'the name of a sound without its ending, such as vm-goodbye or acme/welcome';

CREATE DOMAIN public.time_zone AS text
    CONSTRAINT time_zone_form CHECK (length(VALUE) <= 64 AND VALUE ~ '^(UTC|[A-Z][A-Za-z]+(/[A-Z][A-Za-z_-]+){1,2})$');
COMMENT ON DOMAIN public.time_zone IS 'Time zone as IANA names it: UTC or Europe/Berlin.';
COMMENT ON CONSTRAINT time_zone_form ON DOMAIN public.time_zone IS
    'a time zone as IANA names it, such as Europe/Berlin, or UTC';

CREATE DOMAIN public.header_name AS text
    CONSTRAINT header_name_form CHECK (VALUE ~ '^[A-Za-z][A-Za-z0-9-]{0,62}$');
COMMENT ON DOMAIN public.header_name IS 'Name of a SIP header, 1 to 63 letters, digits and hyphens.';
COMMENT ON CONSTRAINT header_name_form ON DOMAIN public.header_name IS
    'the name of a SIP header: 1 to 63 letters, digits and hyphens, a letter first';

-- Its old rule is a function since 0110: nothing to drop.
ALTER DOMAIN public.step ADD CONSTRAINT step_form CHECK (
    VALUE ~ ('^(busy|announce|voicemail(:[0-9]{1,16})?|hangup|extension:[0-9*]{1,16}|number:\+[1-9][0-9]{4,14}'
             '|(group|menu|policy):[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)$')
);
COMMENT ON CONSTRAINT step_form ON DOMAIN public.step IS
    'busy, announce, voicemail (of the user), voicemail:600, hangup, extension:102, number:+49301234567, group:sales, '
    'menu:welcome or policy:main';
COMMENT ON DOMAIN public.step IS
    'What comes next: busy, announce, voicemail (of the user), voicemail:600, hangup, extension:102, '
    'number:+49301234567, group:sales, menu:welcome or policy:main.';

ALTER TABLE public.accounts
    ADD COLUMN time_zone public.time_zone,
    ADD COLUMN flags text[] NOT NULL DEFAULT '{}'
        CONSTRAINT accounts_flags CHECK (
            array_position(flags, NULL) IS NULL
            AND array_to_string(flags, ',') ~ '^([a-z][a-z0-9-]{0,31}(,[a-z][a-z0-9-]{0,31})*)?$'
        );
COMMENT ON COLUMN public.accounts.time_zone IS 'Time zone of its schedules; null: that of its country.';
COMMENT ON COLUMN public.accounts.flags IS 'Words that rules of its policies may ask for, such as gold.';

CREATE TABLE public.caller_lists (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT caller_lists_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT caller_lists_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    name public.slug NOT NULL,
    comment public.label,
    CONSTRAINT caller_lists_name_key UNIQUE (account_id, name),
    CONSTRAINT caller_lists_account_id_key UNIQUE (account_id, id)
);
COMMENT ON TABLE public.caller_lists IS 'Callers under one name, for rules, forwardings and group members.';
COMMENT ON COLUMN public.caller_lists.id IS 'Number of the row.';
COMMENT ON COLUMN public.caller_lists.account_id IS 'Account the list belongs to.';
COMMENT ON COLUMN public.caller_lists.name IS 'Name of the list, unique in the account.';
COMMENT ON COLUMN public.caller_lists.comment IS 'What it is for.';

CREATE TABLE public.caller_list_entries (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT caller_list_entries_pkey PRIMARY KEY,
    account_id bigint NOT NULL
        CONSTRAINT caller_list_entries_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    list_id bigint NOT NULL,
    pattern public.caller_pattern NOT NULL,
    CONSTRAINT caller_list_entries_key UNIQUE (list_id, pattern),
    CONSTRAINT caller_list_entries_list_fkey FOREIGN KEY (account_id, list_id)
        REFERENCES public.caller_lists (account_id, id) ON DELETE CASCADE
);
CREATE INDEX caller_list_entries_account ON public.caller_list_entries (account_id, list_id);
COMMENT ON TABLE public.caller_list_entries IS 'Who is in a caller list.';
COMMENT ON COLUMN public.caller_list_entries.id IS 'Number of the row.';
COMMENT ON COLUMN public.caller_list_entries.account_id IS 'Account of the list.';
COMMENT ON COLUMN public.caller_list_entries.list_id IS 'The list.';
COMMENT ON COLUMN public.caller_list_entries.pattern IS
    '+4930* (numbers that begin so), +49301234567, 101 or anonymous.';

CREATE TABLE public.schedules (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT schedules_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT schedules_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    name public.slug NOT NULL,
    time_zone public.time_zone,
    CONSTRAINT schedules_name_key UNIQUE (account_id, name),
    CONSTRAINT schedules_account_id_key UNIQUE (account_id, id)
);
COMMENT ON TABLE public.schedules IS
    'When something is open: an override beats special days, they beat the weekly times; else it is closed.';
COMMENT ON COLUMN public.schedules.id IS 'Number of the row.';
COMMENT ON COLUMN public.schedules.account_id IS 'Account the schedule belongs to.';
COMMENT ON COLUMN public.schedules.name IS 'Name of the schedule, unique in the account.';
COMMENT ON COLUMN public.schedules.time_zone IS 'Where its clock hangs; null: time zone of the account.';

CREATE TABLE public.schedule_times (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT schedule_times_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT schedule_times_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    schedule_id bigint NOT NULL,
    days text[] NOT NULL,
    from_time time NOT NULL,
    to_time time NOT NULL,
    from_date date,
    to_date date,
    CONSTRAINT schedule_times_key UNIQUE NULLS NOT DISTINCT (schedule_id, days, from_time, to_time, from_date, to_date),
    CONSTRAINT schedule_times_schedule_fkey FOREIGN KEY (account_id, schedule_id)
        REFERENCES public.schedules (account_id, id) ON DELETE CASCADE,
    CONSTRAINT schedule_times_days CHECK (cardinality(days) > 0 AND days <@ '{mon,tue,wed,thu,fri,sat,sun}'),
    CONSTRAINT schedule_times_minutes CHECK (
        extract(second FROM from_time) = 0 AND extract(second FROM to_time) = 0 AND from_time < '24:00'
    ),
    CONSTRAINT schedule_times_dates CHECK (from_date <= to_date)
);
CREATE INDEX schedule_times_account ON public.schedule_times (account_id, schedule_id);
COMMENT ON TABLE public.schedule_times IS 'Weekly times a schedule is open.';
COMMENT ON COLUMN public.schedule_times.id IS 'Number of the row.';
COMMENT ON COLUMN public.schedule_times.account_id IS 'Account of the schedule.';
COMMENT ON COLUMN public.schedule_times.schedule_id IS 'The schedule.';
COMMENT ON COLUMN public.schedule_times.days IS 'Days of the week: {mon,tue,wed,thu,fri,sat,sun}.';
COMMENT ON COLUMN public.schedule_times.from_time IS 'Open from this minute on.';
COMMENT ON COLUMN public.schedule_times.to_time IS
    'Closed from this minute on, 24:00 at most; not after from_time: over midnight, and of the day it began.';
COMMENT ON COLUMN public.schedule_times.from_date IS 'First day it holds; null: since ever.';
COMMENT ON COLUMN public.schedule_times.to_date IS 'Last day it holds; null: for ever.';

CREATE TABLE public.schedule_days (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT schedule_days_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT schedule_days_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    schedule_id bigint NOT NULL,
    day date NOT NULL,
    every_year boolean NOT NULL DEFAULT false,
    open boolean NOT NULL DEFAULT false,
    from_time time,
    to_time time,
    name public.label,
    CONSTRAINT schedule_days_key UNIQUE NULLS NOT DISTINCT (schedule_id, day, from_time),
    CONSTRAINT schedule_days_schedule_fkey FOREIGN KEY (account_id, schedule_id)
        REFERENCES public.schedules (account_id, id) ON DELETE CASCADE,
    CONSTRAINT schedule_days_times CHECK ((from_time IS NULL) = (to_time IS NULL)),
    CONSTRAINT schedule_days_minutes CHECK (
        extract(second FROM from_time) = 0 AND extract(second FROM to_time) = 0 AND from_time < '24:00'
    )
);
CREATE INDEX schedule_days_account ON public.schedule_days (account_id, schedule_id);
COMMENT ON TABLE public.schedule_days IS 'Holidays and exceptions of a schedule: they beat its weekly times.';
COMMENT ON COLUMN public.schedule_days.id IS 'Number of the row.';
COMMENT ON COLUMN public.schedule_days.account_id IS 'Account of the schedule.';
COMMENT ON COLUMN public.schedule_days.schedule_id IS 'The schedule.';
COMMENT ON COLUMN public.schedule_days.day IS 'The day.';
COMMENT ON COLUMN public.schedule_days.every_year IS 'True: the same day of every year.';
COMMENT ON COLUMN public.schedule_days.open IS 'Open or closed then.';
COMMENT ON COLUMN public.schedule_days.from_time IS 'From this minute on; null: the whole day.';
COMMENT ON COLUMN public.schedule_days.to_time IS 'Until before this minute, 24:00 at most; null: the whole day.';
COMMENT ON COLUMN public.schedule_days.name IS 'What the day is called.';

CREATE TABLE public.schedule_overrides (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT schedule_overrides_pkey PRIMARY KEY,
    account_id bigint NOT NULL
        CONSTRAINT schedule_overrides_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    schedule_id bigint NOT NULL CONSTRAINT schedule_overrides_schedule_key UNIQUE,
    open boolean NOT NULL,
    until timestamptz,
    reason public.label,
    published jsonb NOT NULL DEFAULT '[]',
    CONSTRAINT schedule_overrides_schedule_fkey FOREIGN KEY (account_id, schedule_id)
        REFERENCES public.schedules (account_id, id) ON DELETE CASCADE
);
CREATE INDEX schedule_overrides_account ON public.schedule_overrides (account_id, schedule_id);
CREATE INDEX schedule_overrides_expiry ON public.schedule_overrides (until);
COMMENT ON TABLE public.schedule_overrides IS
    'Schedules open or closed whatever the clock says. Live on every node at commit, no apply needed.';
COMMENT ON COLUMN public.schedule_overrides.id IS 'Number of the row.';
COMMENT ON COLUMN public.schedule_overrides.account_id IS 'Account of the schedule.';
COMMENT ON COLUMN public.schedule_overrides.schedule_id IS 'The schedule.';
COMMENT ON COLUMN public.schedule_overrides.open IS 'Open or closed.';
COMMENT ON COLUMN public.schedule_overrides.until IS 'When it ends by itself; null: never.';
COMMENT ON COLUMN public.schedule_overrides.reason IS 'Why.';
COMMENT ON COLUMN public.schedule_overrides.published IS 'Entries it stands in. The database writes it.';

CREATE TABLE public.groups (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT groups_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT groups_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    name public.slug NOT NULL,
    display_name public.label NOT NULL,
    strategy text NOT NULL DEFAULT 'all' CONSTRAINT groups_strategy CHECK (
        strategy IN ('all', 'in_order', 'round_robin', 'least_recent', 'fewest_calls', 'random', 'weighted')
    ),
    ring_time_s public.seconds NOT NULL DEFAULT 25,
    step_time_s public.seconds NOT NULL DEFAULT 15,
    skip_busy boolean NOT NULL DEFAULT false,
    one_call boolean NOT NULL DEFAULT false,
    confirm boolean NOT NULL DEFAULT false,
    caller_name_prefix public.label,
    identity public.e164,
    on_busy public.step NOT NULL DEFAULT 'busy',
    on_no_answer public.step NOT NULL DEFAULT 'hangup',
    on_nobody public.step NOT NULL DEFAULT 'hangup',
    CONSTRAINT groups_name_key UNIQUE (account_id, name),
    CONSTRAINT groups_account_id_key UNIQUE (account_id, id),
    CONSTRAINT groups_voicemail CHECK ('voicemail' NOT IN (on_busy, on_no_answer, on_nobody))
);
COMMENT ON TABLE public.groups IS 'Groups: who rings when the group is called, and in which order.';
COMMENT ON COLUMN public.groups.id IS 'Number of the row.';
COMMENT ON COLUMN public.groups.account_id IS 'Account the group belongs to.';
COMMENT ON COLUMN public.groups.name IS 'Name of the group, unique in the account.';
COMMENT ON COLUMN public.groups.display_name IS 'Name for people.';
COMMENT ON COLUMN public.groups.strategy IS
    'all at once; in_order; round_robin: begins after the one who rang last; least_recent: who answered longest ago '
    'first; fewest_calls: who answered fewest today first; random; weighted: random by weight.';
COMMENT ON COLUMN public.groups.ring_time_s IS 'How long a call rings in the group, in seconds.';
COMMENT ON COLUMN public.groups.step_time_s IS
    'How long each member rings where they ring one after another, in seconds.';
COMMENT ON COLUMN public.groups.skip_busy IS 'True: devices with a call up do not ring.';
COMMENT ON COLUMN public.groups.one_call IS 'True: while a call rings in the group, the next one is answered busy.';
COMMENT ON COLUMN public.groups.confirm IS 'True: who answers on an outside number takes the call by pressing a key.';
COMMENT ON COLUMN public.groups.caller_name_prefix IS 'Shown before the name of the caller.';
COMMENT ON COLUMN public.groups.identity IS 'Number outgoing members show to outside parties; null: their own.';
COMMENT ON COLUMN public.groups.on_busy IS 'What comes next when all members are busy.';
COMMENT ON COLUMN public.groups.on_no_answer IS 'What comes next when nobody answers in time.';
COMMENT ON COLUMN public.groups.on_nobody IS 'What comes next when there is nobody to ring.';

CREATE TABLE public.menus (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT menus_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT menus_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    name public.slug NOT NULL,
    greeting public.sound NOT NULL,
    timeout_s public.seconds NOT NULL DEFAULT 5,
    tries integer NOT NULL DEFAULT 3 CONSTRAINT menus_tries CHECK (tries BETWEEN 1 AND 10),
    invalid_sound public.sound,
    on_timeout public.step NOT NULL DEFAULT 'hangup',
    on_invalid public.step NOT NULL DEFAULT 'hangup',
    direct_dial boolean NOT NULL DEFAULT false,
    CONSTRAINT menus_name_key UNIQUE (account_id, name),
    CONSTRAINT menus_account_id_key UNIQUE (account_id, id),
    CONSTRAINT menus_voicemail CHECK ('voicemail' NOT IN (on_timeout, on_invalid))
);
COMMENT ON TABLE public.menus IS 'Voice menus: a greeting, and what each key does.';
COMMENT ON COLUMN public.menus.id IS 'Number of the row.';
COMMENT ON COLUMN public.menus.account_id IS 'Account the menu belongs to.';
COMMENT ON COLUMN public.menus.name IS 'Name of the menu, unique in the account.';
COMMENT ON COLUMN public.menus.greeting IS 'Sound that names the choices.';
COMMENT ON COLUMN public.menus.timeout_s IS 'How long to wait for a key after the greeting, in seconds.';
COMMENT ON COLUMN public.menus.tries IS 'How often the greeting is played before on_timeout or on_invalid, 1 to 10.';
COMMENT ON COLUMN public.menus.invalid_sound IS 'Sound after a wrong key; null: the usual one.';
COMMENT ON COLUMN public.menus.on_timeout IS 'What comes next when no key is pressed.';
COMMENT ON COLUMN public.menus.on_invalid IS 'What comes next after wrong keys only.';
COMMENT ON COLUMN public.menus.direct_dial IS 'True: callers may dial extensions of the account.';

CREATE TABLE public.menu_choices (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT menu_choices_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT menu_choices_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    menu_id bigint NOT NULL,
    digits text NOT NULL CONSTRAINT menu_choices_digits CHECK (digits ~ '^[0-9*#]{1,4}$'),
    step public.step NOT NULL,
    CONSTRAINT menu_choices_key UNIQUE (menu_id, digits),
    CONSTRAINT menu_choices_menu_fkey FOREIGN KEY (account_id, menu_id)
        REFERENCES public.menus (account_id, id) ON DELETE CASCADE,
    CONSTRAINT menu_choices_voicemail CHECK (step <> 'voicemail')
);
CREATE INDEX menu_choices_account ON public.menu_choices (account_id, menu_id);
COMMENT ON TABLE public.menu_choices IS 'What the keys of a menu do.';
COMMENT ON COLUMN public.menu_choices.id IS 'Number of the row.';
COMMENT ON COLUMN public.menu_choices.account_id IS 'Account of the menu.';
COMMENT ON COLUMN public.menu_choices.menu_id IS 'The menu.';
COMMENT ON COLUMN public.menu_choices.digits IS 'Keys to press, 1 to 4 of 0 to 9, * and #.';
COMMENT ON COLUMN public.menu_choices.step IS 'What comes next.';

CREATE TABLE public.policies (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT policies_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT policies_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    name public.slug NOT NULL,
    otherwise public.step NOT NULL DEFAULT 'hangup',
    CONSTRAINT policies_name_key UNIQUE (account_id, name),
    CONSTRAINT policies_account_id_key UNIQUE (account_id, id),
    CONSTRAINT policies_voicemail CHECK (otherwise <> 'voicemail')
);
COMMENT ON TABLE public.policies IS 'Policies: ordered rules that say what a call does.';
COMMENT ON COLUMN public.policies.id IS 'Number of the row.';
COMMENT ON COLUMN public.policies.account_id IS 'Account the policy belongs to.';
COMMENT ON COLUMN public.policies.name IS 'Name of the policy, unique in the account.';
COMMENT ON COLUMN public.policies.otherwise IS 'What comes next when no rule holds.';

CREATE TABLE public.policy_rules (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT policy_rules_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT policy_rules_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    policy_id bigint NOT NULL,
    position public.priority NOT NULL,
    comment public.label,
    enabled boolean NOT NULL DEFAULT true,
    caller public.caller_pattern,
    caller_list_id bigint,
    caller_group_id bigint,
    called public.called_pattern,
    trunk_id bigint CONSTRAINT policy_rules_trunk_fkey REFERENCES public.trunks,
    from_inside boolean,
    schedule_id bigint,
    schedule_open boolean NOT NULL DEFAULT true,
    language public.language,
    user_id bigint,
    presence text CONSTRAINT policy_rules_presence CHECK (presence IN ('registered', 'unregistered', 'disturb_not')),
    min_devices integer CONSTRAINT policy_rules_min_devices CHECK (min_devices BETWEEN 0 AND 100),
    max_devices integer CONSTRAINT policy_rules_max_devices CHECK (max_devices BETWEEN 0 AND 100),
    header_name public.header_name,
    header_value public.label,
    account_flag public.word,
    action text NOT NULL CONSTRAINT policy_rules_action CHECK (
        action IN ('ring', 'extension', 'group', 'menu', 'voicemail', 'announcement', 'forward', 'reject',
                   'application', 'next')
    ),
    target text,
    set_language public.language,
    set_caller_name public.label,
    early_announcement public.sound,
    late_announcement public.sound,
    -- At the end of the statement: positions are moved by `SET position = position + 10`.
    CONSTRAINT policy_rules_position_key UNIQUE (policy_id, position) DEFERRABLE,
    CONSTRAINT policy_rules_policy_fkey FOREIGN KEY (account_id, policy_id)
        REFERENCES public.policies (account_id, id) ON DELETE CASCADE,
    CONSTRAINT policy_rules_caller_list_fkey FOREIGN KEY (account_id, caller_list_id)
        REFERENCES public.caller_lists (account_id, id),
    CONSTRAINT policy_rules_caller_group_fkey FOREIGN KEY (account_id, caller_group_id)
        REFERENCES public.groups (account_id, id),
    CONSTRAINT policy_rules_schedule_fkey FOREIGN KEY (account_id, schedule_id)
        REFERENCES public.schedules (account_id, id),
    CONSTRAINT policy_rules_user_fkey FOREIGN KEY (account_id, user_id) REFERENCES public.users (account_id, id),
    CONSTRAINT policy_rules_user CHECK ((user_id IS NULL) = (num_nonnulls(presence, min_devices, max_devices) = 0)),
    CONSTRAINT policy_rules_devices CHECK (min_devices <= max_devices),
    CONSTRAINT policy_rules_header CHECK ((header_name IS NULL) = (header_value IS NULL)),
    CONSTRAINT policy_rules_target CHECK (
        CASE action
            WHEN 'ring' THEN coalesce(target, '') ~ '^[a-z0-9][a-z0-9._-]{0,63}(@[a-z0-9.-]{1,253})?$'
            WHEN 'extension' THEN coalesce(target, '') ~ '^[0-9*]{1,16}$'
            WHEN 'group' THEN coalesce(target, '') ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'
            WHEN 'menu' THEN coalesce(target, '') ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'
            WHEN 'voicemail' THEN coalesce(target, '') ~ '^[0-9]{1,16}$'
            WHEN 'announcement' THEN
                coalesce(target, '') ~ '^[a-z][a-z0-9_-]{0,31}(/[a-z0-9][a-z0-9_-]{0,31}){0,3}$'
            WHEN 'forward' THEN coalesce(target, '') ~ '^\+[1-9][0-9]{4,14}$'
            WHEN 'reject' THEN coalesce(target, '') IN ('busy', 'declined', 'unavailable', 'unknown', 'not_found')
            WHEN 'application' THEN coalesce(target, '') ~ '^[a-z][a-z0-9-]{0,31}$'
            ELSE target IS NULL
        END
    )
);
CREATE INDEX policy_rules_account ON public.policy_rules (account_id, policy_id);
CREATE INDEX policy_rules_trunk ON public.policy_rules (trunk_id) WHERE trunk_id IS NOT NULL;
COMMENT ON TABLE public.policy_rules IS
    'Rules of a policy, tried by position: the first whose conditions all hold decides.';
COMMENT ON COLUMN public.policy_rules.id IS 'Number of the row.';
COMMENT ON COLUMN public.policy_rules.account_id IS 'Account of the policy.';
COMMENT ON COLUMN public.policy_rules.policy_id IS 'The policy.';
COMMENT ON COLUMN public.policy_rules.position IS 'Order of trial, the lowest first.';
COMMENT ON COLUMN public.policy_rules.comment IS 'What the rule is for.';
COMMENT ON COLUMN public.policy_rules.enabled IS 'False: the rule is passed over.';
COMMENT ON COLUMN public.policy_rules.caller IS 'If who calls is like this; null: whoever.';
COMMENT ON COLUMN public.policy_rules.caller_list_id IS 'If who calls is in this list; null: whoever.';
COMMENT ON COLUMN public.policy_rules.caller_group_id IS 'If who calls is a member of this group; null: whoever.';
COMMENT ON COLUMN public.policy_rules.called IS 'If what was called is like this; null: whatever.';
COMMENT ON COLUMN public.policy_rules.trunk_id IS
    'If the call came by this trunk, a shared one or one of the account; null: any way.';
COMMENT ON COLUMN public.policy_rules.from_inside IS
    'If the call came from a device of the account, or from outside (false); null: either.';
COMMENT ON COLUMN public.policy_rules.schedule_id IS
    'If this schedule is open (closed: see schedule_open); null: at any time.';
COMMENT ON COLUMN public.policy_rules.schedule_open IS 'False: the rule holds while the schedule is closed.';
COMMENT ON COLUMN public.policy_rules.language IS 'If the call is in this language; null: any.';
COMMENT ON COLUMN public.policy_rules.user_id IS 'User whose presence or devices the rule asks for.';
COMMENT ON COLUMN public.policy_rules.presence IS
    'If the user is registered (one device at least), unregistered, or does not want to be disturbed (disturb_not).';
COMMENT ON COLUMN public.policy_rules.min_devices IS 'If so many devices of the user are registered at least.';
COMMENT ON COLUMN public.policy_rules.max_devices IS 'If so many devices of the user are registered at most.';
COMMENT ON COLUMN public.policy_rules.header_name IS 'If the call has this SIP header with header_value.';
COMMENT ON COLUMN public.policy_rules.header_value IS 'Value of that header, whole, in any case of letters.';
COMMENT ON COLUMN public.policy_rules.account_flag IS 'If the account has this flag.';
COMMENT ON COLUMN public.policy_rules.action IS
    'ring a user or device; extension, group, menu: go there; voicemail: leave a message; announcement: play it and '
    'hang up; forward to an outside number; reject; application of the site; next: set what is set and try the next rule.';
COMMENT ON COLUMN public.policy_rules.target IS
    'User or device@domain, extension, group, menu, mailbox, sound, E.164 number, word of the refusal '
    '(busy, declined, unavailable, unknown, not_found), or name of the application; null for next.';
COMMENT ON COLUMN public.policy_rules.set_language IS 'Language of the call from here on; null: as it is.';
COMMENT ON COLUMN public.policy_rules.set_caller_name IS 'Shown before the name of the caller; null: nothing.';
COMMENT ON COLUMN public.policy_rules.early_announcement IS 'Sound before the call is answered; null: none.';
COMMENT ON COLUMN public.policy_rules.late_announcement IS 'Sound for which the call is answered; null: none.';

CREATE TABLE public.forwardings (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT forwardings_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT forwardings_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    user_id bigint NOT NULL,
    position public.priority NOT NULL DEFAULT 10,
    condition text NOT NULL DEFAULT 'always' CONSTRAINT forwardings_condition CHECK (
        condition IN ('always', 'busy', 'no_answer', 'unregistered')
    ),
    caller_list_id bigint,
    schedule_id bigint,
    schedule_open boolean NOT NULL DEFAULT true,
    step public.step NOT NULL,
    enabled boolean NOT NULL DEFAULT true,
    CONSTRAINT forwardings_position_key UNIQUE (user_id, position) DEFERRABLE,
    CONSTRAINT forwardings_user_fkey FOREIGN KEY (account_id, user_id)
        REFERENCES public.users (account_id, id) ON DELETE CASCADE,
    CONSTRAINT forwardings_caller_list_fkey FOREIGN KEY (account_id, caller_list_id)
        REFERENCES public.caller_lists (account_id, id),
    CONSTRAINT forwardings_schedule_fkey FOREIGN KEY (account_id, schedule_id)
        REFERENCES public.schedules (account_id, id)
);
CREATE INDEX forwardings_account ON public.forwardings (account_id, user_id);
COMMENT ON TABLE public.forwardings IS
    'Where calls for a user go instead: the first by position that holds. Before what the extension says.';
COMMENT ON COLUMN public.forwardings.id IS 'Number of the row.';
COMMENT ON COLUMN public.forwardings.account_id IS 'Account of the user.';
COMMENT ON COLUMN public.forwardings.user_id IS 'The user.';
COMMENT ON COLUMN public.forwardings.position IS 'Order of trial, the lowest first.';
COMMENT ON COLUMN public.forwardings.condition IS
    'always; or when the user is busy, does not answer (no_answer), or is unregistered.';
COMMENT ON COLUMN public.forwardings.caller_list_id IS 'For these callers only; null: for all.';
COMMENT ON COLUMN public.forwardings.schedule_id IS
    'While this schedule is open (or closed, see schedule_open); null: at any time.';
COMMENT ON COLUMN public.forwardings.schedule_open IS 'False: while the schedule is closed.';
COMMENT ON COLUMN public.forwardings.step IS 'Where the call goes.';
COMMENT ON COLUMN public.forwardings.enabled IS 'False: passed over.';

CREATE TABLE public.user_states (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT user_states_id_key UNIQUE,
    account_id bigint NOT NULL CONSTRAINT user_states_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    user_id bigint CONSTRAINT user_states_pkey PRIMARY KEY,
    dnd boolean NOT NULL DEFAULT false,
    until timestamptz,
    published jsonb NOT NULL DEFAULT '[]',
    CONSTRAINT user_states_user_fkey FOREIGN KEY (account_id, user_id)
        REFERENCES public.users (account_id, id) ON DELETE CASCADE,
    CONSTRAINT user_states_until CHECK (until IS NULL OR dnd)
);
CREATE INDEX user_states_account ON public.user_states (account_id, user_id);
CREATE INDEX user_states_expiry ON public.user_states (until);
COMMENT ON TABLE public.user_states IS
    'What users say of themselves. Live on every node at commit, no apply needed.';
COMMENT ON COLUMN public.user_states.id IS 'Number of the row.';
COMMENT ON COLUMN public.user_states.account_id IS 'Account of the user.';
COMMENT ON COLUMN public.user_states.user_id IS 'The user.';
COMMENT ON COLUMN public.user_states.dnd IS 'True: the devices of the user do not ring (do not disturb).';
COMMENT ON COLUMN public.user_states.until IS 'When that ends by itself; null: never.';
COMMENT ON COLUMN public.user_states.published IS 'Entries it stands in. The database writes it.';

-- Serves also where an index over account_id alone did.
ALTER TABLE public.devices ADD CONSTRAINT devices_account_id_key UNIQUE (account_id, id);
DROP INDEX public.devices_account;

CREATE TABLE public.group_members (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT group_members_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT group_members_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    group_id bigint NOT NULL,
    user_id bigint,
    device_id bigint,
    number public.e164,
    position public.priority NOT NULL DEFAULT 100,
    weight public.weight NOT NULL DEFAULT 10,
    delay_s integer NOT NULL DEFAULT 0 CONSTRAINT group_members_delay CHECK (delay_s BETWEEN 0 AND 600),
    schedule_id bigint,
    schedule_open boolean NOT NULL DEFAULT true,
    caller_list_id bigint,
    outgoing boolean NOT NULL DEFAULT false,
    enabled boolean NOT NULL DEFAULT true,
    CONSTRAINT group_members_key UNIQUE NULLS NOT DISTINCT (group_id, user_id, device_id, number),
    CONSTRAINT group_members_account_id_key UNIQUE (account_id, id),
    CONSTRAINT group_members_group_fkey FOREIGN KEY (account_id, group_id)
        REFERENCES public.groups (account_id, id) ON DELETE CASCADE,
    CONSTRAINT group_members_user_fkey FOREIGN KEY (account_id, user_id)
        REFERENCES public.users (account_id, id) ON DELETE CASCADE,
    CONSTRAINT group_members_device_fkey FOREIGN KEY (account_id, device_id)
        REFERENCES public.devices (account_id, id) ON DELETE CASCADE,
    CONSTRAINT group_members_schedule_fkey FOREIGN KEY (account_id, schedule_id)
        REFERENCES public.schedules (account_id, id),
    CONSTRAINT group_members_caller_list_fkey FOREIGN KEY (account_id, caller_list_id)
        REFERENCES public.caller_lists (account_id, id),
    CONSTRAINT group_members_who CHECK (num_nonnulls(user_id, device_id, number) = 1),
    CONSTRAINT group_members_outgoing CHECK (NOT outgoing OR number IS NULL)
);
CREATE INDEX group_members_account ON public.group_members (account_id, group_id);
CREATE INDEX group_members_user ON public.group_members (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX group_members_device ON public.group_members (device_id) WHERE device_id IS NOT NULL;
COMMENT ON TABLE public.group_members IS 'Who rings in a group. A member goes with its user or device.';
COMMENT ON COLUMN public.group_members.id IS 'Number of the row.';
COMMENT ON COLUMN public.group_members.account_id IS 'Account of the group.';
COMMENT ON COLUMN public.group_members.group_id IS 'The group.';
COMMENT ON COLUMN public.group_members.user_id IS 'User whose devices ring; or device_id or number.';
COMMENT ON COLUMN public.group_members.device_id IS 'Device that rings; or user_id or number.';
COMMENT ON COLUMN public.group_members.number IS 'Outside number that rings; or user_id or device_id.';
COMMENT ON COLUMN public.group_members.position IS 'Place in the order, the lowest first; equal ones by name.';
COMMENT ON COLUMN public.group_members.weight IS 'Share among the members, for strategy weighted.';
COMMENT ON COLUMN public.group_members.delay_s IS 'Rings so much later, in seconds, 0 to 600.';
COMMENT ON COLUMN public.group_members.schedule_id IS
    'Rings while this schedule is open (or closed, see schedule_open); null: at any time.';
COMMENT ON COLUMN public.group_members.schedule_open IS 'False: rings while the schedule is closed.';
COMMENT ON COLUMN public.group_members.caller_list_id IS 'Rings for these callers only; null: for all.';
COMMENT ON COLUMN public.group_members.outgoing IS
    'True: outside parties see the identity of the group when this user or device calls them; of several, that of the '
    'first group by name.';
COMMENT ON COLUMN public.group_members.enabled IS 'False: does not ring and shows its own number.';

CREATE TABLE public.group_away (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT group_away_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT group_away_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    member_id bigint NOT NULL CONSTRAINT group_away_member_key UNIQUE,
    until timestamptz,
    published jsonb NOT NULL DEFAULT '[]',
    CONSTRAINT group_away_member_fkey FOREIGN KEY (account_id, member_id)
        REFERENCES public.group_members (account_id, id) ON DELETE CASCADE
);
CREATE INDEX group_away_account ON public.group_away (account_id, member_id);
CREATE INDEX group_away_expiry ON public.group_away (until);
COMMENT ON TABLE public.group_away IS
    'Members that left their group by themselves, for a while. Live on every node at commit, no apply needed.';
COMMENT ON COLUMN public.group_away.id IS 'Number of the row.';
COMMENT ON COLUMN public.group_away.account_id IS 'Account of the group.';
COMMENT ON COLUMN public.group_away.member_id IS 'The member.';
COMMENT ON COLUMN public.group_away.until IS 'When the member is back by itself; null: never.';
COMMENT ON COLUMN public.group_away.published IS 'Entries it stands in. The database writes it.';

ALTER TABLE public.extensions
    ADD COLUMN policy_id bigint,
    ADD COLUMN group_id bigint,
    ADD COLUMN menu_id bigint,
    DROP CONSTRAINT extensions_kind,
    ADD CONSTRAINT extensions_kind CHECK (
        kind IN ('user', 'voicemail', 'voicemail_main', 'echo', 'announcement', 'number', 'policy', 'group', 'menu')
    ),
    ADD CONSTRAINT extensions_policy CHECK ((kind = 'policy') = (policy_id IS NOT NULL)),
    ADD CONSTRAINT extensions_group CHECK ((kind = 'group') = (group_id IS NOT NULL)),
    ADD CONSTRAINT extensions_menu CHECK ((kind = 'menu') = (menu_id IS NOT NULL)),
    ADD CONSTRAINT extensions_policy_fkey FOREIGN KEY (account_id, policy_id)
        REFERENCES public.policies (account_id, id),
    ADD CONSTRAINT extensions_group_fkey FOREIGN KEY (account_id, group_id) REFERENCES public.groups (account_id, id),
    ADD CONSTRAINT extensions_menu_fkey FOREIGN KEY (account_id, menu_id) REFERENCES public.menus (account_id, id);
CREATE INDEX extensions_policy ON public.extensions (policy_id) WHERE policy_id IS NOT NULL;
CREATE INDEX extensions_group ON public.extensions (group_id) WHERE group_id IS NOT NULL;
CREATE INDEX extensions_menu ON public.extensions (menu_id) WHERE menu_id IS NOT NULL;
COMMENT ON COLUMN public.extensions.kind IS
    'user: ring the devices of a user; voicemail: leave a message; voicemail_main: listen to messages; echo: echo '
    'test; announcement: play one; number: call an outside number; policy: let its rules decide; group: ring its members; '
    'menu: a voice menu.';
COMMENT ON COLUMN public.extensions.policy_id IS 'Policy, for kind policy; null otherwise.';
COMMENT ON COLUMN public.extensions.group_id IS 'Group, for kind group; null otherwise.';
COMMENT ON COLUMN public.extensions.menu_id IS 'Menu, for kind menu; null otherwise.';

-- What the rules above say when they refuse.
COMMENT ON CONSTRAINT accounts_flags ON public.accounts IS
    'write flags as words of lower-case letters, digits and hyphens: {gold,night-service}';
COMMENT ON CONSTRAINT schedule_times_days ON public.schedule_times IS
    'name one day at least of mon, tue, wed, thu, fri, sat, sun: {mon,tue}';
COMMENT ON CONSTRAINT schedule_times_minutes ON public.schedule_times IS
    'write whole minutes, from 00:00 to 24:00, and begin before 24:00';
COMMENT ON CONSTRAINT schedule_times_dates ON public.schedule_times IS 'let to_date be from_date or later';
COMMENT ON CONSTRAINT schedule_days_times ON public.schedule_days IS
    'give both from_time and to_time, or neither for the whole day';
COMMENT ON CONSTRAINT schedule_days_minutes ON public.schedule_days IS
    'write whole minutes, from 00:00 to 24:00, and begin before 24:00';
COMMENT ON CONSTRAINT groups_strategy ON public.groups IS
    'choose all, in_order, round_robin, least_recent, fewest_calls, random or weighted';
COMMENT ON CONSTRAINT groups_voicemail ON public.groups IS
    'a group is no user with a mailbox of its own: name the mailbox, as in voicemail:600';
COMMENT ON CONSTRAINT menus_tries ON public.menus IS 'play the greeting 1 to 10 times';
COMMENT ON CONSTRAINT menus_voicemail ON public.menus IS
    'a menu is no user with a mailbox of its own: name the mailbox, as in voicemail:600';
COMMENT ON CONSTRAINT menu_choices_digits ON public.menu_choices IS 'write 1 to 4 of the keys 0 to 9, * and #';
COMMENT ON CONSTRAINT menu_choices_voicemail ON public.menu_choices IS
    'a menu is no user with a mailbox of its own: name the mailbox, as in voicemail:600';
COMMENT ON CONSTRAINT policies_voicemail ON public.policies IS
    'a policy is no user with a mailbox of its own: name the mailbox, as in voicemail:600';
COMMENT ON CONSTRAINT policy_rules_presence ON public.policy_rules IS
    'choose registered, unregistered or disturb_not';
COMMENT ON CONSTRAINT policy_rules_min_devices ON public.policy_rules IS 'ask for 0 to 100 devices';
COMMENT ON CONSTRAINT policy_rules_max_devices ON public.policy_rules IS 'ask for 0 to 100 devices';
COMMENT ON CONSTRAINT policy_rules_action ON public.policy_rules IS
    'choose ring, extension, group, menu, voicemail, announcement, forward, reject, application or next';
COMMENT ON CONSTRAINT policy_rules_user ON public.policy_rules IS
    'presence, min_devices and max_devices are those of a user: set user_id and one of them, or none';
COMMENT ON CONSTRAINT policy_rules_devices ON public.policy_rules IS 'let max_devices be min_devices or more';
COMMENT ON CONSTRAINT policy_rules_header ON public.policy_rules IS
    'give both header_name and header_value, or neither';
COMMENT ON CONSTRAINT policy_rules_target ON public.policy_rules IS
    'give a user or device@domain for ring, an extension, a group, a menu, a mailbox for voicemail, a sound for '
    'announcement, a number with + for forward, one of busy, declined, unavailable, unknown, not_found for reject, a word '
    'for application, and nothing for next';
COMMENT ON CONSTRAINT forwardings_condition ON public.forwardings IS
    'choose always, busy, no_answer or unregistered';
COMMENT ON CONSTRAINT user_states_until ON public.user_states IS
    'only do not disturb has an end: set dnd, or clear until';
COMMENT ON CONSTRAINT group_members_delay ON public.group_members IS 'let the member ring 0 to 600 seconds later';
COMMENT ON CONSTRAINT group_members_who ON public.group_members IS
    'a member is exactly one of user_id, device_id and number: set one, clear the others';
COMMENT ON CONSTRAINT group_members_outgoing ON public.group_members IS
    'an outside number shows its own number: leave outgoing false, or name a user or device';
COMMENT ON CONSTRAINT extensions_kind ON public.extensions IS
    'choose user, voicemail, voicemail_main, echo, announcement, number, policy, group or menu';
COMMENT ON CONSTRAINT extensions_policy ON public.extensions IS
    'kind policy needs a policy, and only kind policy has one: set or clear policy_id, or choose another kind';
COMMENT ON CONSTRAINT extensions_group ON public.extensions IS
    'kind group needs a group, and only kind group has one: set or clear group_id, or choose another kind';
COMMENT ON CONSTRAINT extensions_menu ON public.extensions IS
    'kind menu needs a menu, and only kind menu has one: set or clear menu_id, or choose another kind';

CALL control.explain_refusals();
