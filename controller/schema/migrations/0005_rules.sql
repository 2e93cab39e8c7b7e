-- Rules over more than one row. Each error names the row and says what to do.
-- They are checked at commit, so rows may come in any order.

CREATE FUNCTION control.check_extension(extension_id bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    ext record;
    wrong record;
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

    FOR wrong IN
        SELECT name, substr(step, 11) AS target
        FROM (VALUES ('on_busy', ext.on_busy), ('on_no_answer', ext.on_no_answer),
                     ('on_unregistered', ext.on_unregistered)) AS steps (name, step)
        WHERE step LIKE 'extension:%' AND NOT EXISTS (
            SELECT FROM public.extensions AS o
            WHERE o.account_id = ext.account_id AND o.extension = substr(step, 11)
        )
    LOOP
        RAISE EXCEPTION 'extension % of account %: % leads to extension %, which does not exist',
            ext.extension, ext.account, wrong.name, wrong.target
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'extensions', COLUMN = wrong.name,
                  CONSTRAINT = 'extensions_steps',
                  HINT = format('Create extension %s in account %s, or change %s.',
                                wrong.target, ext.account, wrong.name);
    END LOOP;

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
COMMENT ON FUNCTION control.check_extension IS
    'Refuses an extension whose target or steps lead nowhere, or in a circle.';

CREATE FUNCTION control.extension_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        PERFORM control.check_extension(NEW.id);
    END IF;
    IF TG_OP <> 'INSERT' THEN
        PERFORM control.check_extension(e.id)
        FROM public.extensions AS e
        WHERE e.account_id = OLD.account_id
            AND 'extension:' || OLD.extension IN (e.on_busy, e.on_no_answer, e.on_unregistered);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.extension_changed IS 'Checks an extension and those whose steps lead to it.';

CREATE CONSTRAINT TRIGGER extensions_new AFTER INSERT ON public.extensions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.kind = 'voicemail' OR NEW.on_busy ~ '^(extension|voicemail)'
          OR NEW.on_no_answer ~ '^(extension|voicemail)' OR NEW.on_unregistered ~ '^(extension|voicemail)')
    EXECUTE FUNCTION control.extension_changed();
CREATE CONSTRAINT TRIGGER extensions_other AFTER UPDATE OR DELETE ON public.extensions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.extension_changed();

CREATE FUNCTION control.mailbox_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM control.check_extension(e.id)
    FROM public.extensions AS e
    WHERE e.account_id = OLD.account_id
        AND (e.user_id = OLD.user_id OR e.extension = OLD.mailbox OR e.target = OLD.mailbox);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.mailbox_changed IS 'Checks the extensions that lead to a mailbox.';

CREATE CONSTRAINT TRIGGER voicemail_boxes_other AFTER UPDATE OR DELETE ON public.voicemail_boxes
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.mailbox_changed();

CREATE FUNCTION control.check_trunk(checked bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong record;
BEGIN
    SELECT r.prefix, t.name AS trunk, owner.name AS owner, a.name AS account INTO wrong
    FROM public.routes AS r
    JOIN public.trunks AS t ON t.id = r.trunk_id
    JOIN public.accounts AS owner ON owner.id = t.account_id
    LEFT JOIN public.accounts AS a ON a.id = r.account_id
    WHERE t.id = checked AND r.account_id IS DISTINCT FROM t.account_id
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'route % of %: trunk % belongs to account % alone',
            CASE wrong.prefix WHEN '' THEN '(every number)' ELSE wrong.prefix END,
            coalesce('account ' || wrong.account, 'all accounts'), wrong.trunk, wrong.owner
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'routes', COLUMN = 'trunk_id',
                  CONSTRAINT = 'routes_trunk_account',
                  HINT = 'Name a shared trunk (account_id null) or one of the same account.';
    END IF;
    SELECT n.country, n.number, t.name AS trunk, owner.name AS owner INTO wrong
    FROM public.emergency_routes AS r
    JOIN public.emergency_numbers AS n ON n.id = r.emergency_number_id
    JOIN public.trunks AS t ON t.id = r.trunk_id
    JOIN public.accounts AS owner ON owner.id = t.account_id
    WHERE t.id = checked
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'emergency number % of %: trunk % belongs to account % alone',
            wrong.number, wrong.country, wrong.trunk, wrong.owner
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'emergency_routes', COLUMN = 'trunk_id',
                  CONSTRAINT = 'emergency_routes_trunk_shared',
                  HINT = 'Emergency calls of every account use it: name a shared trunk (account_id null).';
    END IF;
END
$$;
COMMENT ON FUNCTION control.check_trunk IS 'Refuses routes over a trunk that is not theirs to use.';

CREATE FUNCTION control.route_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM control.check_trunk(NEW.trunk_id);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.route_changed IS 'Checks the trunk of a route.';

CREATE FUNCTION control.trunk_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM control.check_trunk(NEW.id);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.trunk_changed IS 'Checks the routes over a trunk whose owner changed.';

CREATE CONSTRAINT TRIGGER routes_trunk AFTER INSERT OR UPDATE ON public.routes
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.route_changed();
CREATE CONSTRAINT TRIGGER emergency_routes_trunk AFTER INSERT OR UPDATE ON public.emergency_routes
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.route_changed();
CREATE CONSTRAINT TRIGGER trunks_routes AFTER UPDATE OF account_id ON public.trunks
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.trunk_changed();

-- An edge trusts what comes from a node's address: it cannot be a carrier's as well.
CREATE FUNCTION control.address_changed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong record;
BEGIN
    SELECT n.name AS node, n.address AS node_address, t.name AS trunk, ta.address AS trunk_address INTO wrong
    FROM public.nodes AS n
    JOIN public.trunk_addresses AS ta ON ta.address >>= n.address
    JOIN public.trunks AS t ON t.id = ta.trunk_id
    WHERE CASE TG_TABLE_NAME WHEN 'nodes' THEN n.id ELSE ta.id END = NEW.id
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'address % of trunk % contains the address of node % (%)',
            wrong.trunk_address, wrong.trunk, wrong.node, host(wrong.node_address)
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = TG_TABLE_NAME, COLUMN = 'address',
                  CONSTRAINT = 'trunk_addresses_node',
                  HINT = 'Give the trunk smaller networks or the node another address: edges trust nodes.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.address_changed IS 'Refuses an address that is both a node''s and a trunk''s.';

CREATE CONSTRAINT TRIGGER nodes_address AFTER INSERT OR UPDATE OF address ON public.nodes
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.address_changed();
CREATE CONSTRAINT TRIGGER trunk_addresses_address AFTER INSERT OR UPDATE OF address ON public.trunk_addresses
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.address_changed();

-- Digests are made over names, so a new name makes them worthless.
CREATE FUNCTION control.refuse_rename() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    holder text;
    remedy text;
BEGIN
    IF TG_TABLE_NAME = 'devices' THEN
        IF NEW.ha1_md5 = OLD.ha1_md5 OR NEW.ha1_sha256 = OLD.ha1_sha256 THEN
            holder := 'device ' || OLD.name;
            remedy := 'Set ha1_md5 and ha1_sha256 for the new name in the same statement, or make a new device.';
        END IF;
    ELSIF TG_TABLE_NAME = 'domains' THEN
        IF EXISTS (SELECT FROM public.devices AS d WHERE d.domain_id = OLD.id) THEN
            holder := 'domain ' || OLD.name;
            remedy := 'Make a new domain, and its devices with new passwords.';
        END IF;
    ELSIF TG_TABLE_NAME = 'accounts' THEN
        IF EXISTS (SELECT FROM public.voicemail_boxes AS b
                   WHERE b.account_id = OLD.id AND b.pin_digest IS NOT NULL) THEN
            holder := 'account ' || OLD.name;
            remedy := 'Set pin_digest of its mailboxes to null first, rename, and set new PINs.';
        END IF;
    ELSIF NEW.pin_digest = OLD.pin_digest THEN
        holder := 'mailbox ' || OLD.mailbox;
        remedy := 'Set pin_digest to null in the same statement, and then a new PIN with set_mailbox_pin().';
    END IF;
    IF holder IS NOT NULL THEN
        RAISE EXCEPTION '% cannot be renamed like this: its digests were made with the old name', holder
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = TG_TABLE_NAME,
                  CONSTRAINT = TG_TABLE_NAME || '_rename', HINT = remedy;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION control.refuse_rename IS 'Refuses a new name that would make password or PIN digests worthless.';

CREATE TRIGGER devices_rename BEFORE UPDATE ON public.devices FOR EACH ROW
    WHEN (NEW.name IS DISTINCT FROM OLD.name OR NEW.domain_id IS DISTINCT FROM OLD.domain_id)
    EXECUTE FUNCTION control.refuse_rename();
CREATE TRIGGER domains_rename BEFORE UPDATE ON public.domains FOR EACH ROW
    WHEN (NEW.name IS DISTINCT FROM OLD.name) EXECUTE FUNCTION control.refuse_rename();
CREATE TRIGGER accounts_rename BEFORE UPDATE ON public.accounts FOR EACH ROW
    WHEN (NEW.name IS DISTINCT FROM OLD.name) EXECUTE FUNCTION control.refuse_rename();
CREATE TRIGGER voicemail_boxes_rename BEFORE UPDATE ON public.voicemail_boxes FOR EACH ROW
    WHEN (NEW.mailbox IS DISTINCT FROM OLD.mailbox OR NEW.account_id IS DISTINCT FROM OLD.account_id)
    EXECUTE FUNCTION control.refuse_rename();

CREATE FUNCTION control.check_block() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    home text;
    emergency record;
BEGIN
    IF NEW.scope = 'account' THEN
        SELECT a.country INTO home FROM public.accounts AS a WHERE a.name = NEW.subject;
    ELSIF NEW.scope = 'device' THEN
        SELECT a.country INTO home
        FROM public.devices AS d
        JOIN public.domains AS m ON m.id = d.domain_id
        JOIN public.accounts AS a ON a.id = d.account_id
        WHERE d.name = split_part(NEW.subject, '@', 1) AND m.name = split_part(NEW.subject, '@', 2);
    END IF;
    IF NEW.scope IN ('account', 'device') AND home IS NULL THEN
        RAISE EXCEPTION 'block %: there is no % of that name', NEW.subject, NEW.scope
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'blocks', COLUMN = 'subject',
                  CONSTRAINT = 'blocks_known',
                  HINT = format('Write the subject as in the table %ss (a device as name@domain).', NEW.scope);
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
COMMENT ON FUNCTION control.check_block IS 'Refuses a block of something unknown, or of an emergency number.';

CREATE TRIGGER blocks_check BEFORE INSERT OR UPDATE ON public.blocks
    FOR EACH ROW EXECUTE FUNCTION control.check_block();
