-- What leads to a queue and where queues lead to, as in 0201; change log, audit and grants, as in 0202.

CREATE OR REPLACE VIEW control.steps AS
SELECT e.account_id, 'extensions' AS tbl, e.id, 'extension ' || e.extension AS holder, s.place, s.step::text AS step,
    e.user_id
FROM public.extensions AS e
CROSS JOIN LATERAL (VALUES ('on_busy', e.on_busy), ('on_no_answer', e.on_no_answer),
                           ('on_unregistered', e.on_unregistered)) AS s (place, step)
WHERE e.kind = 'user'
UNION ALL
SELECT f.account_id, 'forwardings', f.id, 'user ' || u.name, 'forwarding ' || f.position, f.step::text, f.user_id
FROM public.forwardings AS f JOIN public.users AS u ON u.id = f.user_id
UNION ALL
SELECT g.account_id, 'groups', g.id, 'group ' || g.name, s.place, s.step::text, NULL
FROM public.groups AS g
CROSS JOIN LATERAL (VALUES ('on_busy', g.on_busy), ('on_no_answer', g.on_no_answer),
                           ('on_nobody', g.on_nobody)) AS s (place, step)
UNION ALL
SELECT q.account_id, 'queues', q.id, 'queue ' || q.name, s.place, s.step::text, NULL
FROM public.queues AS q
CROSS JOIN LATERAL (VALUES ('on_full', q.on_full), ('on_timeout', q.on_timeout),
                           ('on_empty', q.on_empty)) AS s (place, step)
UNION ALL
SELECT m.account_id, 'menus', m.id, 'menu ' || m.name, s.place, s.step::text, NULL
FROM public.menus AS m
CROSS JOIN LATERAL (VALUES ('on_timeout', m.on_timeout), ('on_invalid', m.on_invalid)) AS s (place, step)
UNION ALL
SELECT c.account_id, 'menu_choices', c.id, 'menu ' || m.name, 'key ' || c.digits, c.step::text, NULL
FROM public.menu_choices AS c JOIN public.menus AS m ON m.id = c.menu_id
UNION ALL
SELECT p.account_id, 'policies', p.id, 'policy ' || p.name, 'otherwise', p.otherwise::text, NULL
FROM public.policies AS p
UNION ALL
SELECT r.account_id, 'policy_rules', r.id, 'policy ' || p.name, 'rule ' || r.position, r.action || ':' || r.target, NULL
FROM public.policy_rules AS r JOIN public.policies AS p ON p.id = r.policy_id
WHERE r.action IN ('ring', 'extension', 'group', 'queue', 'menu', 'voicemail');

CREATE OR REPLACE FUNCTION control.leads_nowhere(account bigint, step text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN t.name IS NULL THEN NULL
        WHEN CASE t.kind
            WHEN 'extension' THEN EXISTS (
                SELECT FROM public.extensions AS e WHERE e.account_id = account AND e.extension = t.name)
            WHEN 'voicemail' THEN EXISTS (
                SELECT FROM public.voicemail_boxes AS b WHERE b.account_id = account AND b.mailbox = t.name)
            WHEN 'group' THEN EXISTS (
                SELECT FROM public.groups AS g WHERE g.account_id = account AND g.name = t.name)
            WHEN 'queue' THEN EXISTS (
                SELECT FROM public.queues AS q WHERE q.account_id = account AND q.name = t.name)
            WHEN 'menu' THEN EXISTS (
                SELECT FROM public.menus AS m WHERE m.account_id = account AND m.name = t.name)
            WHEN 'policy' THEN EXISTS (
                SELECT FROM public.policies AS p WHERE p.account_id = account AND p.name = t.name)
            WHEN 'ring' THEN CASE WHEN strpos(t.name, '@') = 0
                THEN EXISTS (SELECT FROM public.users AS u WHERE u.account_id = account AND u.name = t.name)
                ELSE EXISTS (
                    SELECT FROM public.devices AS d JOIN public.domains AS m ON m.id = d.domain_id
                    WHERE d.account_id = account AND d.name || '@' || m.name = t.name)
                END
            ELSE true
        END THEN NULL
        ELSE CASE t.kind
            WHEN 'voicemail' THEN 'mailbox'
            WHEN 'ring' THEN CASE WHEN strpos(t.name, '@') = 0 THEN 'user' ELSE 'device' END
            ELSE t.kind
        END || ' ' || t.name
    END
    FROM (SELECT split_part(step, ':', 1), nullif(split_part(step, ':', 2), '')) AS t (kind, name)
$$;

CREATE CONSTRAINT TRIGGER queues_steps AFTER INSERT OR UPDATE ON public.queues
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.steps_changed();
CREATE CONSTRAINT TRIGGER queues_gone AFTER DELETE ON public.queues
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.named_changed('queue');
CREATE CONSTRAINT TRIGGER queues_named AFTER UPDATE ON public.queues
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.name <> NEW.name OR OLD.account_id <> NEW.account_id)
    EXECUTE FUNCTION control.named_changed('queue');

DO $$
DECLARE
    one record;
    by_account constant text := 'LEFT JOIN public.accounts AS a ON a.id = r.account_id';
    account_gone constant text := '(a.id IS NULL)';
BEGIN
    FOR one IN
        SELECT tbl, key, state, by_account || coalesce(' ' || joins, '') AS joins,
            coalesce('(a.id IS NULL OR ' || owner || '.id IS NULL)', account_gone) AS owner_gone
        FROM (VALUES
            ('queues', 'a.name || ''/'' || r.name', 'configuration', NULL, NULL),
            ('queue_members', 'a.name || ''/'' || o.name || ''/'' || u.name', 'configuration',
             'LEFT JOIN public.queues AS o ON o.id = r.queue_id LEFT JOIN public.users AS u ON u.id = r.user_id', 'o'),
            ('member_states', 'a.name || ''/'' || o.name', 'operational',
             'LEFT JOIN public.users AS o ON o.id = r.user_id', 'o')
        ) AS spec (tbl, key, state, joins, owner)
    LOOP
        EXECUTE format(
            'CREATE TRIGGER log_insert AFTER INSERT ON public.%1$I REFERENCING NEW TABLE AS new_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, ''a.name'', %3$L, %4$L, %5$L, ''{}'', '''');
             CREATE TRIGGER log_update AFTER UPDATE ON public.%1$I
                 REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, ''a.name'', %3$L, %4$L, %5$L, ''{}'', '''');
             CREATE TRIGGER log_delete AFTER DELETE ON public.%1$I REFERENCING OLD TABLE AS old_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, ''a.name'', %3$L, %4$L, %5$L, ''{}'', '''');
             CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.%1$I
                 FOR EACH STATEMENT EXECUTE FUNCTION control.refuse_truncate();
             GRANT SELECT ON public.%1$I TO dialplane_admin, dialplane_controller, dialplane_reader;
             GRANT INSERT, UPDATE, DELETE ON public.%1$I TO dialplane_admin',
            one.tbl, one.key, one.joins, one.owner_gone, one.state
        );
    END LOOP;
END
$$;
-- What people say by a command or by a code on their phone.
GRANT INSERT, UPDATE, DELETE ON public.member_states TO dialplane_controller;

CREATE OR REPLACE FUNCTION control.release_expired() RETURNS TABLE (what text, released bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    spec record;
BEGIN
    what := 'blocks released';
    released := control.release_expired_blocks();
    RETURN NEXT;
    FOR spec IN
        SELECT * FROM (VALUES ('schedule_overrides', 'overrides ended'), ('user_states', 'do-not-disturbs ended'),
                              ('group_away', 'members back in their group'),
                              ('member_states', 'members back in their queues')) AS s (tbl, said)
    LOOP
        what := spec.said;
        EXECUTE format('DELETE FROM public.%I WHERE until <= clock_timestamp()', spec.tbl);
        GET DIAGNOSTICS released = ROW_COUNT;
        RETURN NEXT;
    END LOOP;
END
$$;
