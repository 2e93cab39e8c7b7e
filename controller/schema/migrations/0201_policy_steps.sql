-- Steps and targets name things by text: what they name has to be there. Checked at commit, as in 0005.
-- So a group, menu, policy, extension, mailbox, user or device that something leads to by text cannot go, nor take
-- another name, unless what leads there changes in the same transaction.

CREATE VIEW control.steps AS
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
WHERE r.action IN ('ring', 'extension', 'group', 'menu', 'voicemail');
COMMENT ON VIEW control.steps IS 'Everything that leads somewhere by text: who, in which place, and where to.';

CREATE FUNCTION control.leads_nowhere(account bigint, step text) RETURNS text
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
COMMENT ON FUNCTION control.leads_nowhere IS
    'What a step names that the account does not have, in words; null: nothing.';

CREATE FUNCTION control.check_steps(checked_table text, checked bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    one record;
    missing text;
BEGIN
    FOR one IN
        SELECT s.*, a.name AS account
        FROM control.steps AS s JOIN public.accounts AS a ON a.id = s.account_id
        WHERE s.tbl = checked_table AND s.id = checked
        ORDER BY s.place
    LOOP
        missing := control.leads_nowhere(one.account_id, one.step);
        IF missing IS NOT NULL THEN
            RAISE EXCEPTION '% of account %: % leads to %, which does not exist',
                one.holder, one.account, one.place, missing
                USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = checked_table,
                      COLUMN = CASE WHEN strpos(one.place, ' ') = 0 THEN one.place ELSE '' END,
                      CONSTRAINT = checked_table || '_steps',
                      HINT = format('Create %s in account %s, or change %s.', missing, one.account, one.place);
        END IF;
        IF one.step = 'voicemail' AND one.tbl = 'forwardings' AND NOT EXISTS (
            SELECT FROM public.voicemail_boxes AS b WHERE b.account_id = one.account_id AND b.user_id = one.user_id
        ) THEN
            RAISE EXCEPTION '% of account %: % leads to voicemail, but the user has no mailbox',
                one.holder, one.account, one.place
                USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = checked_table,
                      CONSTRAINT = 'forwardings_voicemail',
                      HINT = format('Create a mailbox for %s in account %s, or name one: voicemail:600.',
                                    one.holder, one.account);
        END IF;
        IF one.tbl = 'forwardings' AND one.step LIKE 'extension:%' AND EXISTS (
            SELECT FROM public.extensions AS e
            WHERE e.account_id = one.account_id AND e.user_id = one.user_id AND 'extension:' || e.extension = one.step
        ) THEN
            RAISE EXCEPTION '% of account %: % leads back to the user, by %',
                one.holder, one.account, one.place, replace(one.step, ':', ' ')
                USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = checked_table, COLUMN = 'step',
                      CONSTRAINT = 'forwardings_circle',
                      HINT = 'Let it lead to somebody else.';
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION control.check_steps IS 'Refuses a row with a step or target that leads to what is not there.';

CREATE FUNCTION control.check_leads(account bigint, step text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM control.check_steps(s.tbl, s.id)
    FROM control.steps AS s WHERE s.account_id = check_leads.account AND s.step = check_leads.step;
END
$$;
COMMENT ON FUNCTION control.check_leads IS 'Checks what leads to something that went or has another name.';

CREATE FUNCTION control.steps_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM control.check_steps(TG_TABLE_NAME, NEW.id);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.steps_changed IS 'Checks the steps of a row.';

CREATE FUNCTION control.named_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM control.check_leads(OLD.account_id, TG_ARGV[0] || ':' || OLD.name);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.named_changed IS 'Checks what leads to a row that went or has another name.';

CREATE FUNCTION control.device_named_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM control.check_steps('policy_rules', r.id)
    FROM public.policy_rules AS r
    WHERE r.account_id = OLD.account_id AND r.action = 'ring' AND split_part(r.target, '@', 1) = OLD.name
        AND strpos(r.target, '@') > 0;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.device_named_changed IS
    'Checks the rules that ring a device that went or has another name.';

DO $$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT * FROM (VALUES
            ('forwardings', NULL), ('groups', 'group'), ('menus', 'menu'), ('menu_choices', NULL),
            ('policies', 'policy'), ('policy_rules', NULL), ('users', 'ring')
        ) AS spec (tbl, kind)
    LOOP
        IF one.tbl <> 'users' THEN
            EXECUTE format(
                'CREATE CONSTRAINT TRIGGER %1$s_steps AFTER INSERT OR UPDATE ON public.%1$I
                     DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.steps_changed()', one.tbl);
        END IF;
        IF one.kind IS NOT NULL THEN
            EXECUTE format(
                'CREATE CONSTRAINT TRIGGER %1$s_gone AFTER DELETE ON public.%1$I
                     DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.named_changed(%2$L);
                 CREATE CONSTRAINT TRIGGER %1$s_named AFTER UPDATE ON public.%1$I
                     DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
                     WHEN (OLD.name <> NEW.name OR OLD.account_id <> NEW.account_id)
                     EXECUTE FUNCTION control.named_changed(%2$L)', one.tbl, one.kind);
        END IF;
    END LOOP;
END
$$;
CREATE CONSTRAINT TRIGGER devices_gone AFTER DELETE ON public.devices
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.device_named_changed();
CREATE CONSTRAINT TRIGGER devices_named AFTER UPDATE ON public.devices
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.name <> NEW.name OR OLD.domain_id <> NEW.domain_id OR OLD.account_id <> NEW.account_id)
    EXECUTE FUNCTION control.device_named_changed();

-- Extensions: the same rules, beside their own.
CREATE OR REPLACE FUNCTION control.check_extension(extension_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ext record;
    circle text;
BEGIN
    SELECT e.*, a.name AS account INTO ext
    FROM public.extensions AS e JOIN public.accounts AS a ON a.id = e.account_id
    WHERE e.id = extension_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    IF ext.kind = 'voicemail' AND NOT EXISTS (
        SELECT FROM public.voicemail_boxes AS b WHERE b.account_id = ext.account_id AND b.mailbox = ext.target
    ) THEN
        RAISE EXCEPTION 'extension % of account %: target is mailbox %, which does not exist',
            ext.extension, ext.account, ext.target
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'extensions', COLUMN = 'target',
                  CONSTRAINT = 'extensions_mailbox',
                  HINT = format('Create mailbox %s in account %s, or change target.', ext.target, ext.account);
    END IF;
    IF ext.kind <> 'user' THEN
        RETURN;
    END IF;
    PERFORM control.check_steps('extensions', ext.id);

    IF 'voicemail' IN (ext.on_busy, ext.on_no_answer, ext.on_unregistered) AND NOT EXISTS (
        SELECT FROM public.voicemail_boxes AS b
        WHERE b.account_id = ext.account_id AND (b.user_id = ext.user_id OR b.mailbox = ext.extension)
    ) THEN
        RAISE EXCEPTION 'extension % of account %: a step is voicemail, but its user has no mailbox',
            ext.extension, ext.account
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'extensions',
                  CONSTRAINT = 'extensions_voicemail',
                  HINT = format('Create a mailbox for the user of extension %s in account %s, or change the step.',
                                ext.extension, ext.account);
    END IF;

    WITH RECURSIVE walk (extension, path) AS (
        SELECT ext.extension::text, ext.extension::text
        UNION
        SELECT substr(s.step, 11), walk.path || ' -> ' || substr(s.step, 11)
        FROM walk
        JOIN public.extensions AS e
            ON e.account_id = ext.account_id AND e.extension = walk.extension AND e.kind = 'user'
        CROSS JOIN LATERAL (VALUES (e.on_busy), (e.on_no_answer), (e.on_unregistered)) AS s (step)
        WHERE s.step LIKE 'extension:%'
            AND (walk.path = ext.extension OR walk.extension <> ext.extension)
            AND position(' -> ' || substr(s.step, 11) || ' ' IN walk.path || ' ') = 0
    )
    SELECT path INTO circle FROM walk
    WHERE walk.extension = ext.extension AND walk.path <> ext.extension LIMIT 1;
    IF circle IS NOT NULL THEN
        RAISE EXCEPTION 'extension % of account %: its steps lead in a circle: %', ext.extension, ext.account, circle
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'extensions',
                  CONSTRAINT = 'extensions_circle',
                  HINT = 'Let the last extension end with voicemail, busy, announce, hangup or a number.';
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION control.extension_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        PERFORM control.check_extension(NEW.id);
    END IF;
    IF TG_OP = 'DELETE' OR (TG_OP = 'UPDATE' AND (OLD.account_id, OLD.extension) <> (NEW.account_id, NEW.extension))
    THEN
        PERFORM control.check_leads(OLD.account_id, 'extension:' || OLD.extension);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.extension_changed IS 'Checks an extension, and what leads to one that went.';

DROP TRIGGER extensions_new ON public.extensions;
CREATE CONSTRAINT TRIGGER extensions_new AFTER INSERT ON public.extensions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.kind = 'voicemail' OR NEW.on_busy ~ '^voicemail|:' OR NEW.on_no_answer ~ '^voicemail|:'
          OR NEW.on_unregistered ~ '^voicemail|:')
    EXECUTE FUNCTION control.extension_changed();

CREATE OR REPLACE FUNCTION control.mailbox_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM control.check_extension(e.id)
    FROM public.extensions AS e
    WHERE e.account_id = OLD.account_id
        AND (e.user_id = OLD.user_id OR e.extension = OLD.mailbox OR e.target = OLD.mailbox);
    PERFORM control.check_leads(OLD.account_id, 'voicemail:' || OLD.mailbox);
    PERFORM control.check_steps('forwardings', f.id)
    FROM public.forwardings AS f
    WHERE f.account_id = OLD.account_id AND f.user_id = OLD.user_id AND f.step = 'voicemail';
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.mailbox_changed IS 'Checks what leads to a mailbox.';

-- A rule may ask for a trunk that serves its account: a shared one, or its own.
CREATE FUNCTION control.check_rule_trunk() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong record;
BEGIN
    SELECT p.name AS policy, r.position, a.name AS account, t.name AS trunk, o.name AS owner INTO wrong
    FROM public.policy_rules AS r
    JOIN public.policies AS p ON p.id = r.policy_id
    JOIN public.accounts AS a ON a.id = r.account_id
    JOIN public.trunks AS t ON t.id = r.trunk_id
    JOIN public.accounts AS o ON o.id = t.account_id
    WHERE t.account_id <> r.account_id AND CASE TG_TABLE_NAME WHEN 'trunks' THEN t.id ELSE r.id END = NEW.id
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'policy % of account %: rule % asks for trunk %, which belongs to account % alone',
            wrong.policy, wrong.account, wrong.position, wrong.trunk, wrong.owner
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'policy_rules', COLUMN = 'trunk_id',
                  CONSTRAINT = 'policy_rules_trunk_account',
                  HINT = 'Name a shared trunk (account_id null) or one of the same account.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.check_rule_trunk IS 'Refuses a rule over a trunk of another account.';

CREATE CONSTRAINT TRIGGER policy_rules_trunk AFTER INSERT OR UPDATE ON public.policy_rules
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.trunk_id IS NOT NULL)
    EXECUTE FUNCTION control.check_rule_trunk();
CREATE CONSTRAINT TRIGGER trunks_rules AFTER UPDATE OF account_id ON public.trunks
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.account_id IS NOT NULL)
    EXECUTE FUNCTION control.check_rule_trunk();
