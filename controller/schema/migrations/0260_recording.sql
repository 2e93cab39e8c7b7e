-- Which calls are recorded, what those who talk hear before, and how long recordings are kept.

ALTER TABLE public.accounts
    ADD COLUMN record_announcement public.sound DEFAULT 'conf-now-recording',
    ADD COLUMN recordings_keep_days integer
        CONSTRAINT accounts_recordings_keep_days CHECK (recordings_keep_days BETWEEN 1 AND 3650);
COMMENT ON COLUMN public.accounts.record_announcement IS
    'Sound that both sides of a call to be recorded hear before they hear each other; null: none is played here.';
COMMENT ON COLUMN public.accounts.recordings_keep_days IS
    'Recordings older than so many days are removed, 1 to 3650; null: as setting recordings_keep_days says, and without '
    'one they are kept.';
COMMENT ON CONSTRAINT accounts_recordings_keep_days ON public.accounts IS
    'keep recordings 1 to 3650 days, or set nothing for the setting recordings_keep_days';

ALTER TABLE public.settings ADD CONSTRAINT settings_keep_days CHECK (
    name !~ '_keep_days$' OR value ~ '^[1-9][0-9]{0,2}$|^[1-2][0-9]{3}$|^3[0-5][0-9]{2}$|^36[0-4][0-9]$|^3650$|^forever$'
);
COMMENT ON CONSTRAINT settings_keep_days ON public.settings IS
    'write 1 to 3650 days, or forever, or delete the setting for its default';
COMMENT ON COLUMN public.settings.name IS
    'Name of the setting. zone: internal DNS zone between edges and media nodes; recordings_keep_days: recordings of accounts '
    'that say nothing of their own are removed after so many days.';

ALTER TABLE public.users
    ADD COLUMN record text NOT NULL DEFAULT 'never'
        CONSTRAINT users_record CHECK (record IN ('never', 'on_demand', 'always')),
    ADD COLUMN record_calls text[] NOT NULL DEFAULT '{internal,inbound,outbound}'
        CONSTRAINT users_record_calls CHECK (
            cardinality(record_calls) > 0 AND record_calls <@ '{internal,inbound,outbound}'
        );
COMMENT ON COLUMN public.users.record IS
    'Calls of the user and to the user: never recorded, on_demand (the user starts and stops it by *1), or always. Calls '
    'that a group or queue brings go by the row of that, but for on_demand.';
COMMENT ON COLUMN public.users.record_calls IS 'Which of them: internal, inbound, outbound.';
COMMENT ON CONSTRAINT users_record ON public.users IS 'choose never, on_demand or always';
COMMENT ON CONSTRAINT users_record_calls ON public.users IS
    'name at least one of internal, inbound and outbound, such as {inbound,outbound}';

ALTER TABLE public.groups ADD COLUMN record text NOT NULL DEFAULT 'never'
    CONSTRAINT groups_record CHECK (record IN ('never', 'on_demand', 'always'));
COMMENT ON COLUMN public.groups.record IS
    'Calls that a member answers: never recorded for the group''s sake, on_demand (who answered starts and stops it by *1), '
    'or always.';
COMMENT ON CONSTRAINT groups_record ON public.groups IS 'choose never, on_demand or always';

ALTER TABLE public.queues ADD COLUMN record text NOT NULL DEFAULT 'never'
    CONSTRAINT queues_record CHECK (record IN ('never', 'on_demand', 'always'));
COMMENT ON COLUMN public.queues.record IS
    'Talks of callers with members: never recorded for the queue''s sake, on_demand (the member starts and stops it by *1), '
    'or always.';
COMMENT ON CONSTRAINT queues_record ON public.queues IS 'choose never, on_demand or always';

ALTER TABLE public.policy_rules ADD COLUMN set_record text
    CONSTRAINT policy_rules_set_record CHECK (set_record IN ('always', 'never'));
COMMENT ON COLUMN public.policy_rules.set_record IS
    'always: the call is recorded from here on, whoever answers, after transfers too; never: it is not, whatever the rows of '
    'users, groups and queues say; null: as they say.';
COMMENT ON CONSTRAINT policy_rules_set_record ON public.policy_rules IS 'choose always or never, or set nothing';

CREATE TABLE control.recordings (
    node text NOT NULL,
    path text NOT NULL,
    call_id text NOT NULL,
    account text,
    began_at timestamptz NOT NULL,
    why text NOT NULL,
    asked_at timestamptz,
    asked_by text,
    removed_at timestamptz,
    removed_because text,
    CONSTRAINT recordings_pkey PRIMARY KEY (node, path),
    CONSTRAINT recordings_asked CHECK ((asked_at IS NULL) = (asked_by IS NULL)),
    CONSTRAINT recordings_removed CHECK ((removed_at IS NULL) = (removed_because IS NULL))
);
CREATE INDEX recordings_call ON control.recordings (call_id);
CREATE INDEX recordings_account ON control.recordings (account, began_at);
CREATE INDEX recordings_asked_for ON control.recordings (node) WHERE removed_at IS NULL AND asked_at IS NOT NULL;
CREATE INDEX recordings_there ON control.recordings (node, began_at) WHERE removed_at IS NULL;
COMMENT ON TABLE control.recordings IS
    'Recordings of calls and conferences: the files lie on the media nodes. A row stays when its file was removed.';
COMMENT ON COLUMN control.recordings.node IS 'Media node on which the file lies.';
COMMENT ON COLUMN control.recordings.path IS 'The file there.';
COMMENT ON COLUMN control.recordings.call_id IS 'The call (X-DP-Call).';
COMMENT ON COLUMN control.recordings.account IS 'Account of the call.';
COMMENT ON COLUMN control.recordings.began_at IS 'When the recording began.';
COMMENT ON COLUMN control.recordings.why IS 'What row, or who by key, wanted it.';
COMMENT ON COLUMN control.recordings.asked_at IS 'When somebody asked for the file to be removed; null: nobody did.';
COMMENT ON COLUMN control.recordings.asked_by IS 'Who asked.';
COMMENT ON COLUMN control.recordings.removed_at IS 'When the agent of the node removed the file; null: it is there.';
COMMENT ON COLUMN control.recordings.removed_because IS 'Why: too old, or asked for; or that it was not there.';

CREATE VIEW control.recordings_due AS
SELECT r.node, r.path, r.began_at, r.asked_at,
    CASE WHEN r.asked_at IS NOT NULL THEN 'asked for by ' || r.asked_by
         ELSE 'older than ' || k.days || ' days' END AS because
FROM control.recordings AS r
LEFT JOIN public.accounts AS a ON a.name = r.account
LEFT JOIN public.settings AS s ON s.name = 'recordings_keep_days'
CROSS JOIN LATERAL (SELECT coalesce(a.recordings_keep_days, nullif(s.value, 'forever')::integer) AS days) AS k
WHERE r.removed_at IS NULL
    AND (r.asked_at IS NOT NULL OR r.began_at < clock_timestamp() - make_interval(days => k.days));
COMMENT ON VIEW control.recordings_due IS
    'Recordings that the agent of their node shall remove now, and why: asked for, or kept long enough.';

GRANT SELECT ON control.recordings, control.recordings_due
    TO dialplane_admin, dialplane_controller, dialplane_agent, dialplane_reader;
GRANT INSERT, UPDATE ON control.recordings TO dialplane_agent;
GRANT INSERT, UPDATE ON control.recordings TO dialplane_controller;
GRANT UPDATE (asked_at, asked_by) ON control.recordings TO dialplane_admin;
GRANT EXECUTE ON FUNCTION control.actor TO dialplane_admin;

CALL control.explain_refusals();
