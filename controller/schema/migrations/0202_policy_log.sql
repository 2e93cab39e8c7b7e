-- Change log and audit of the rows of 0200, as in 0006, and who may do what with them.

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
            ('caller_lists', 'a.name || ''/'' || r.name', 'configuration', NULL, NULL),
            ('caller_list_entries', 'a.name || ''/'' || o.name || ''/'' || r.pattern', 'configuration',
             'LEFT JOIN public.caller_lists AS o ON o.id = r.list_id', 'o'),
            ('schedules', 'a.name || ''/'' || r.name', 'configuration', NULL, NULL),
            ('schedule_times',
             'a.name || ''/'' || o.name || ''/'' || array_to_string(r.days, '','') || ''/'' || left(r.from_time::text, 5)',
             'configuration', 'LEFT JOIN public.schedules AS o ON o.id = r.schedule_id', 'o'),
            ('schedule_days', 'a.name || ''/'' || o.name || ''/'' || r.day', 'configuration',
             'LEFT JOIN public.schedules AS o ON o.id = r.schedule_id', 'o'),
            ('schedule_overrides', 'a.name || ''/'' || o.name', 'operational',
             'LEFT JOIN public.schedules AS o ON o.id = r.schedule_id', 'o'),
            ('groups', 'a.name || ''/'' || r.name', 'configuration', NULL, NULL),
            ('group_members', 'a.name || ''/'' || o.name || ''/'' || coalesce(u.name, d.name, r.number)',
             'configuration',
             'LEFT JOIN public.groups AS o ON o.id = r.group_id LEFT JOIN public.users AS u ON u.id = r.user_id '
             'LEFT JOIN public.devices AS d ON d.id = r.device_id', 'o'),
            ('group_away', 'a.name || ''/'' || o.name || ''/'' || coalesce(u.name, d.name, m.number)', 'operational',
             'LEFT JOIN public.group_members AS m ON m.id = r.member_id '
             'LEFT JOIN public.groups AS o ON o.id = m.group_id LEFT JOIN public.users AS u ON u.id = m.user_id '
             'LEFT JOIN public.devices AS d ON d.id = m.device_id', 'm'),
            ('menus', 'a.name || ''/'' || r.name', 'configuration', NULL, NULL),
            ('menu_choices', 'a.name || ''/'' || o.name || ''/'' || r.digits', 'configuration',
             'LEFT JOIN public.menus AS o ON o.id = r.menu_id', 'o'),
            ('policies', 'a.name || ''/'' || r.name', 'configuration', NULL, NULL),
            ('policy_rules', 'a.name || ''/'' || o.name || ''/'' || r.position', 'configuration',
             'LEFT JOIN public.policies AS o ON o.id = r.policy_id', 'o'),
            ('forwardings', 'a.name || ''/'' || o.name || ''/'' || r.position', 'configuration',
             'LEFT JOIN public.users AS o ON o.id = r.user_id', 'o'),
            ('user_states', 'a.name || ''/'' || o.name', 'operational',
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

GRANT SELECT ON control.steps TO dialplane_admin, dialplane_controller;
GRANT EXECUTE ON FUNCTION control.check_steps, control.check_leads, control.leads_nowhere TO dialplane_admin;
-- What people say by a code on their phone, and what programs set.
GRANT INSERT, UPDATE, DELETE ON public.schedule_overrides, public.user_states, public.group_away
    TO dialplane_controller;
