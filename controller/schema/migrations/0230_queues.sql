-- Queues: callers wait, members are called. Who waits and who rings is in 0232; what people say of themselves is operational.

-- Its old rule is a function since 0200: nothing to drop.
ALTER DOMAIN public.step ADD CONSTRAINT step_form CHECK (
    VALUE ~ ('^(busy|announce|voicemail(:[0-9]{1,16})?|hangup|extension:[0-9*]{1,16}|number:\+[1-9][0-9]{4,14}'
             '|(group|menu|policy|queue):[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?)$')
);
COMMENT ON CONSTRAINT step_form ON DOMAIN public.step IS
    'busy, announce, voicemail (of the user), voicemail:600, hangup, extension:102, number:+49301234567, group:sales, '
    'menu:welcome, policy:main or queue:support';
COMMENT ON DOMAIN public.step IS
    'What comes next: busy, announce, voicemail (of the user), voicemail:600, hangup, extension:102, '
    'number:+49301234567, group:sales, menu:welcome, policy:main or queue:support.';

CREATE TABLE public.queues (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT queues_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT queues_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    name public.slug NOT NULL,
    display_name public.label NOT NULL,
    strategy text NOT NULL DEFAULT 'ring_all' CONSTRAINT queues_strategy CHECK (
        strategy IN ('ring_all', 'batch', 'round_robin', 'least_recent', 'fewest_calls', 'random', 'weighted', 'in_order')
    ),
    ring_time_s public.seconds NOT NULL DEFAULT 20,
    retry_s integer NOT NULL DEFAULT 5 CONSTRAINT queues_retry CHECK (retry_s BETWEEN 0 AND 600),
    wrap_up_s integer NOT NULL DEFAULT 0 CONSTRAINT queues_wrap_up CHECK (wrap_up_s BETWEEN 0 AND 3600),
    weight public.weight NOT NULL DEFAULT 10,
    max_waiting integer CONSTRAINT queues_max_waiting CHECK (max_waiting BETWEEN 1 AND 10000),
    max_wait_s integer CONSTRAINT queues_max_wait CHECK (max_wait_s BETWEEN 1 AND 86400),
    join_empty boolean NOT NULL DEFAULT false,
    leave_empty boolean NOT NULL DEFAULT false,
    announce_position boolean NOT NULL DEFAULT false,
    announce_every_s public.seconds,
    periodic_sound public.sound,
    periodic_every_s public.seconds NOT NULL DEFAULT 60,
    greeting public.sound,
    service_level_s public.seconds NOT NULL DEFAULT 20,
    batch_first_percent integer NOT NULL DEFAULT 25
        CONSTRAINT queues_batch_first CHECK (batch_first_percent BETWEEN 1 AND 100),
    batch_first_min integer NOT NULL DEFAULT 1
        CONSTRAINT queues_batch_min CHECK (batch_first_min BETWEEN 1 AND 1000),
    batch_second_percent integer NOT NULL DEFAULT 25
        CONSTRAINT queues_batch_second CHECK (batch_second_percent BETWEEN 0 AND 100),
    batch_wait_s public.seconds NOT NULL DEFAULT 8,
    alert_limit integer CONSTRAINT queues_alert_limit CHECK (alert_limit BETWEEN 1 AND 1000),
    alert_pace_ms integer NOT NULL DEFAULT 500
        CONSTRAINT queues_alert_pace CHECK (alert_pace_ms BETWEEN 10 AND 10000),
    callback boolean NOT NULL DEFAULT false,
    rejoin_s integer NOT NULL DEFAULT 60 CONSTRAINT queues_rejoin CHECK (rejoin_s BETWEEN 0 AND 3600),
    on_full public.step NOT NULL DEFAULT 'busy',
    on_timeout public.step NOT NULL DEFAULT 'hangup',
    on_empty public.step NOT NULL DEFAULT 'hangup',
    required_skills text[] NOT NULL DEFAULT '{}' CONSTRAINT queues_skills CHECK (
        array_position(required_skills, NULL) IS NULL AND array_to_string(required_skills, ',')
            ~ '^([a-z][a-z0-9-]{0,31}(:[1-9])?(,[a-z][a-z0-9-]{0,31}(:[1-9])?)*)?$'
    ),
    CONSTRAINT queues_name_key UNIQUE (account_id, name),
    CONSTRAINT queues_account_id_key UNIQUE (account_id, id),
    CONSTRAINT queues_batch_wait CHECK (strategy <> 'batch' OR batch_wait_s < ring_time_s),
    CONSTRAINT queues_voicemail CHECK ('voicemail' NOT IN (on_full, on_timeout, on_empty))
);
COMMENT ON TABLE public.queues IS 'Queues: callers wait until a member is free. They span all media nodes of the cluster.';
COMMENT ON COLUMN public.queues.id IS 'Number of the row.';
COMMENT ON COLUMN public.queues.account_id IS 'Account the queue belongs to.';
COMMENT ON COLUMN public.queues.name IS 'Name of the queue, unique in the account.';
COMMENT ON COLUMN public.queues.display_name IS 'Name for people.';
COMMENT ON COLUMN public.queues.strategy IS
    'Whom a caller rings, of the free members with the lowest penalty. ring_all: all of them; batch: some, and more of them '
    'after batch_wait_s; one member: round_robin (after the one who rang last), least_recent (whose last call is longest '
    'ago), fewest_calls (fewest today), random, weighted (random by weight), in_order (by position).';
COMMENT ON COLUMN public.queues.ring_time_s IS 'How long members ring for a caller before others are tried, in seconds.';
COMMENT ON COLUMN public.queues.retry_s IS 'Pause before a caller whom nobody took rings again, in seconds, 0 to 600.';
COMMENT ON COLUMN public.queues.wrap_up_s IS
    'How long a member is left alone after a call of this queue, by every queue, in seconds, 0 to 3600.';
COMMENT ON COLUMN public.queues.weight IS
    'Between queues: a member of several gets callers of the heaviest queue first, 1 to 1000.';
COMMENT ON COLUMN public.queues.max_waiting IS 'At most so many callers wait, the next one goes on with on_full; null: any number.';
COMMENT ON COLUMN public.queues.max_wait_s IS 'A caller who waited so long goes on with on_timeout, in seconds; null: for ever.';
COMMENT ON COLUMN public.queues.join_empty IS
    'True: callers may come while no member is on duty (logged in, not paused, registered); false: they go on with on_empty.';
COMMENT ON COLUMN public.queues.leave_empty IS
    'True: callers who wait go on with on_empty when no member is on duty any more.';
COMMENT ON COLUMN public.queues.announce_position IS 'True: callers are told their position and how long it may take.';
COMMENT ON COLUMN public.queues.announce_every_s IS 'How often they are told, in seconds; null: once.';
COMMENT ON COLUMN public.queues.periodic_sound IS 'Sound played again and again between the music; null: none.';
COMMENT ON COLUMN public.queues.periodic_every_s IS 'How often it is played, in seconds.';
COMMENT ON COLUMN public.queues.greeting IS 'Sound when a caller comes; null: none.';
COMMENT ON COLUMN public.queues.service_level_s IS 'A caller answered within so many seconds was served in time (reports).';
COMMENT ON COLUMN public.queues.batch_first_percent IS
    'Strategy batch: how many of the free members ring at once, in percent, rounded up.';
COMMENT ON COLUMN public.queues.batch_first_min IS 'Strategy batch: at least so many ring at once.';
COMMENT ON COLUMN public.queues.batch_second_percent IS
    'Strategy batch: how many ring besides after batch_wait_s, in percent of the free members, rounded up; 0: none.';
COMMENT ON COLUMN public.queues.batch_wait_s IS 'Strategy batch: how long the first ones ring alone, in seconds.';
COMMENT ON COLUMN public.queues.alert_limit IS
    'Prioritised alerting: so many telephones are alerted at once, then as many again every alert_pace_ms; null: all at once.';
COMMENT ON COLUMN public.queues.alert_pace_ms IS 'Prioritised alerting: pace, in milliseconds.';
COMMENT ON COLUMN public.queues.callback IS
    'True: a caller may press 1, hang up and be called back when the turn comes.';
COMMENT ON COLUMN public.queues.rejoin_s IS
    'A caller whose call was lost and who calls again within so many seconds gets the old place, 0 to 3600.';
COMMENT ON COLUMN public.queues.on_full IS 'What comes next when max_waiting callers wait already.';
COMMENT ON COLUMN public.queues.on_timeout IS 'What comes next after max_wait_s.';
COMMENT ON COLUMN public.queues.on_empty IS 'What comes next when no member is on duty.';
COMMENT ON COLUMN public.queues.required_skills IS
    'What members must be able to do, each with the least level: {german:2,billing}. A skill without a level has level 1.';

CREATE TABLE public.queue_members (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT queue_members_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT queue_members_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    queue_id bigint NOT NULL,
    user_id bigint NOT NULL,
    position public.priority NOT NULL DEFAULT 100,
    penalty integer NOT NULL DEFAULT 0 CONSTRAINT queue_members_penalty CHECK (penalty BETWEEN 0 AND 100),
    weight public.weight NOT NULL DEFAULT 10,
    skills text[] NOT NULL DEFAULT '{}' CONSTRAINT queue_members_skills CHECK (
        array_position(skills, NULL) IS NULL AND array_to_string(skills, ',')
            ~ '^([a-z][a-z0-9-]{0,31}(:[1-9])?(,[a-z][a-z0-9-]{0,31}(:[1-9])?)*)?$'
    ),
    priority_alert public.priority NOT NULL DEFAULT 100,
    CONSTRAINT queue_members_key UNIQUE (queue_id, user_id),
    CONSTRAINT queue_members_queue_fkey FOREIGN KEY (account_id, queue_id)
        REFERENCES public.queues (account_id, id) ON DELETE CASCADE,
    CONSTRAINT queue_members_user_fkey FOREIGN KEY (account_id, user_id)
        REFERENCES public.users (account_id, id) ON DELETE CASCADE
);
CREATE INDEX queue_members_account ON public.queue_members (account_id, queue_id);
CREATE INDEX queue_members_user ON public.queue_members (user_id);
COMMENT ON TABLE public.queue_members IS 'Who is called by a queue: users with their devices. A member goes with its user.';
COMMENT ON COLUMN public.queue_members.id IS 'Number of the row.';
COMMENT ON COLUMN public.queue_members.account_id IS 'Account of the queue.';
COMMENT ON COLUMN public.queue_members.queue_id IS 'The queue.';
COMMENT ON COLUMN public.queue_members.user_id IS 'User whose devices ring.';
COMMENT ON COLUMN public.queue_members.position IS 'Place in the order, the lowest first; equal ones by name.';
COMMENT ON COLUMN public.queue_members.penalty IS
    'Rings only when no member with a lower penalty is free, 0 to 100.';
COMMENT ON COLUMN public.queue_members.weight IS 'Share among the members, for strategy weighted.';
COMMENT ON COLUMN public.queue_members.skills IS
    'What the member can do, each with its level 1 to 9: {german:3,billing}. A skill without a level has level 1.';
COMMENT ON COLUMN public.queue_members.priority_alert IS 'Order of prioritised alerting, the lowest first.';

CREATE TABLE public.member_states (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT member_states_id_key UNIQUE,
    account_id bigint NOT NULL
        CONSTRAINT member_states_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    user_id bigint CONSTRAINT member_states_pkey PRIMARY KEY,
    logged_in boolean NOT NULL DEFAULT true,
    paused boolean NOT NULL DEFAULT false,
    pause_reason public.label,
    until timestamptz,
    CONSTRAINT member_states_user_fkey FOREIGN KEY (account_id, user_id)
        REFERENCES public.users (account_id, id) ON DELETE CASCADE,
    CONSTRAINT member_states_reason CHECK (pause_reason IS NULL OR paused),
    CONSTRAINT member_states_until CHECK (until IS NULL OR paused OR NOT logged_in)
);
CREATE INDEX member_states_account ON public.member_states (account_id, user_id);
CREATE INDEX member_states_expiry ON public.member_states (until);
COMMENT ON TABLE public.member_states IS
    'Members of queues who logged out or pause, in all their queues. Live at commit, no apply needed. No row: logged in.';
COMMENT ON COLUMN public.member_states.id IS 'Number of the row.';
COMMENT ON COLUMN public.member_states.account_id IS 'Account of the user.';
COMMENT ON COLUMN public.member_states.user_id IS 'The user.';
COMMENT ON COLUMN public.member_states.logged_in IS 'False: no queue calls the user.';
COMMENT ON COLUMN public.member_states.paused IS 'True: no queue calls the user for the time being.';
COMMENT ON COLUMN public.member_states.pause_reason IS 'Why, for reports.';
COMMENT ON COLUMN public.member_states.until IS
    'When the user is logged in and free again by itself; null: never.';

ALTER TABLE public.extensions
    ADD COLUMN queue_id bigint,
    DROP CONSTRAINT extensions_kind,
    ADD CONSTRAINT extensions_kind CHECK (
        kind IN ('user', 'voicemail', 'voicemail_main', 'echo', 'announcement', 'number', 'policy', 'group', 'menu',
                 'queue')
    ),
    ADD CONSTRAINT extensions_queue CHECK ((kind = 'queue') = (queue_id IS NOT NULL)),
    ADD CONSTRAINT extensions_queue_fkey FOREIGN KEY (account_id, queue_id) REFERENCES public.queues (account_id, id);
CREATE INDEX extensions_queue ON public.extensions (queue_id) WHERE queue_id IS NOT NULL;
COMMENT ON COLUMN public.extensions.kind IS
    'user: ring the devices of a user; voicemail: leave a message; voicemail_main: listen to messages; echo: echo '
    'test; announcement: play one; number: call an outside number; policy: let its rules decide; group: ring its members; '
    'menu: a voice menu; queue: wait for a member.';
COMMENT ON COLUMN public.extensions.queue_id IS 'Queue, for kind queue; null otherwise.';

ALTER TABLE public.policy_rules
    DROP CONSTRAINT policy_rules_action,
    ADD CONSTRAINT policy_rules_action CHECK (
        action IN ('ring', 'extension', 'group', 'queue', 'menu', 'voicemail', 'announcement', 'forward', 'reject',
                   'application', 'next')
    ),
    DROP CONSTRAINT policy_rules_target,
    ADD CONSTRAINT policy_rules_target CHECK (
        CASE action
            WHEN 'ring' THEN coalesce(target, '') ~ '^[a-z0-9][a-z0-9._-]{0,63}(@[a-z0-9.-]{1,253})?$'
            WHEN 'extension' THEN coalesce(target, '') ~ '^[0-9*]{1,16}$'
            WHEN 'group' THEN coalesce(target, '') ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'
            WHEN 'queue' THEN coalesce(target, '') ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'
            WHEN 'menu' THEN coalesce(target, '') ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'
            WHEN 'voicemail' THEN coalesce(target, '') ~ '^[0-9]{1,16}$'
            WHEN 'announcement' THEN
                coalesce(target, '') ~ '^[a-z][a-z0-9_-]{0,31}(/[a-z0-9][a-z0-9_-]{0,31}){0,3}$'
            WHEN 'forward' THEN coalesce(target, '') ~ '^\+[1-9][0-9]{4,14}$'
            WHEN 'reject' THEN coalesce(target, '') IN ('busy', 'declined', 'unavailable', 'unknown', 'not_found')
            WHEN 'application' THEN coalesce(target, '') ~ '^[a-z][a-z0-9-]{0,31}$'
            ELSE target IS NULL
        END
    );
COMMENT ON COLUMN public.policy_rules.action IS
    'ring a user or device; extension, group, queue, menu: go there; voicemail: leave a message; announcement: play it and '
    'hang up; forward to an outside number; reject; application of the site; next: set what is set and try the next rule.';
COMMENT ON COLUMN public.policy_rules.target IS
    'User or device@domain, extension, group, queue, menu, mailbox, sound, E.164 number, word of the refusal '
    '(busy, declined, unavailable, unknown, not_found), or name of the application; null for next.';

-- What the rules above say when they refuse.
COMMENT ON CONSTRAINT queues_strategy ON public.queues IS
    'choose ring_all, batch, round_robin, least_recent, fewest_calls, random, weighted or in_order';
COMMENT ON CONSTRAINT queues_retry ON public.queues IS 'let a caller ring again after 0 to 600 seconds';
COMMENT ON CONSTRAINT queues_wrap_up ON public.queues IS 'leave members alone for 0 to 3600 seconds';
COMMENT ON CONSTRAINT queues_max_waiting ON public.queues IS 'let 1 to 10000 callers wait, or nothing for any number';
COMMENT ON CONSTRAINT queues_max_wait ON public.queues IS
    'let a caller wait 1 to 86400 seconds, or nothing for ever';
COMMENT ON CONSTRAINT queues_batch_first ON public.queues IS 'ring 1 to 100 percent of the free members first';
COMMENT ON CONSTRAINT queues_batch_min ON public.queues IS 'ring at least 1 to 1000 members first';
COMMENT ON CONSTRAINT queues_batch_second ON public.queues IS 'ring 0 to 100 percent of the free members besides';
COMMENT ON CONSTRAINT queues_batch_wait ON public.queues IS
    'let batch_wait_s be shorter than ring_time_s, or the second batch never rings';
COMMENT ON CONSTRAINT queues_alert_limit ON public.queues IS
    'alert 1 to 1000 telephones at once, or nothing for all of them';
COMMENT ON CONSTRAINT queues_alert_pace ON public.queues IS 'alert more of them every 10 to 10000 milliseconds';
COMMENT ON CONSTRAINT queues_rejoin ON public.queues IS 'keep the place of a lost caller for 0 to 3600 seconds';
COMMENT ON CONSTRAINT queues_skills ON public.queues IS
    'write skills as words of lower-case letters, digits and hyphens, each with a level from 1 to 9 if you like: '
    '{german:2,billing}';
COMMENT ON CONSTRAINT queues_voicemail ON public.queues IS
    'a queue is no user with a mailbox of its own: name the mailbox, as in voicemail:600';
COMMENT ON CONSTRAINT queue_members_penalty ON public.queue_members IS 'give a penalty from 0 to 100';
COMMENT ON CONSTRAINT queue_members_skills ON public.queue_members IS
    'write skills as words of lower-case letters, digits and hyphens, each with a level from 1 to 9 if you like: '
    '{german:3,billing}';
COMMENT ON CONSTRAINT member_states_reason ON public.member_states IS
    'only a pause has a reason: set paused, or clear pause_reason';
COMMENT ON CONSTRAINT member_states_until ON public.member_states IS
    'only a pause or being logged out has an end: set paused, or logged_in to false, or clear until';
COMMENT ON CONSTRAINT extensions_kind ON public.extensions IS
    'choose user, voicemail, voicemail_main, echo, announcement, number, policy, group, menu or queue';
COMMENT ON CONSTRAINT extensions_queue ON public.extensions IS
    'kind queue needs a queue, and only kind queue has one: set or clear queue_id, or choose another kind';
COMMENT ON CONSTRAINT policy_rules_action ON public.policy_rules IS
    'choose ring, extension, group, queue, menu, voicemail, announcement, forward, reject, application or next';
COMMENT ON CONSTRAINT policy_rules_target ON public.policy_rules IS
    'give a user or device@domain for ring, an extension, a group, a queue, a menu, a mailbox for voicemail, a sound for '
    'announcement, a number with + for forward, one of busy, declined, unavailable, unknown, not_found for reject, a word '
    'for application, and nothing for next';

CALL control.explain_refusals();
