-- What PostgreSQL refuses names the row and says what to do, in psql too, and no error prints a row (digests!).
--
-- A migration with new tables, columns or rules: name each CHECK, say in its comment what to do, and end with the CALL.
--     CONSTRAINT queues_strategy CHECK (strategy IN ('all', 'turns'))
--     COMMENT ON CONSTRAINT queues_strategy ON public.queues IS 'choose all or turns';
--     COMMENT ON CONSTRAINT colour_form ON DOMAIN public.colour IS 'red or blue';
--     CALL control.explain_refusals();
-- Another rule for a domain: ALTER DOMAIN ... DROP CONSTRAINT IF EXISTS, ADD CONSTRAINT, and the same two lines.

CREATE FUNCTION control.row_name(tbl regclass, content jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    arguments text[];
    key text;
    source text;
    named text;
BEGIN
    -- The change log knows how rows of the table are named, see control.log_change().
    SELECT string_to_array(encode(t.tgargs, 'escape'), '\000') INTO arguments
    FROM pg_trigger AS t WHERE t.tgrelid = tbl AND t.tgname = 'log_insert';
    IF arguments IS NULL THEN
        RETURN (SELECT string_agg(content ->> a.attname, '/' ORDER BY a.attnum)
                FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                WHERE i.indrelid = tbl AND i.indisprimary);
    END IF;
    SELECT string_agg(format('coalesce((%s)::text, ''?'')', part), ' || ') INTO key
    FROM regexp_split_to_table(arguments[1], ' \|\| ') AS part;
    -- An update shows the name the row has, not the one it shall get.
    FOREACH source IN ARRAY ARRAY[
        format('(SELECT * FROM %s WHERE id = ($1 ->> ''id'')::bigint)', tbl),
        format('jsonb_populate_record(NULL::%s, $1)', tbl)
    ] LOOP
        EXECUTE format('SELECT %s FROM %s AS r %s', key, source, arguments[3]) INTO named USING content;
        EXIT WHEN named IS NOT NULL;
    END LOOP;
    RETURN left(regexp_replace(
        named, '[\u0001-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]', '?', 'g'
    ), 200);
END
$$;
COMMENT ON FUNCTION control.row_name IS
    'Natural name of a row, as the change log writes it; ? stands for a part that is missing.';

CREATE FUNCTION control.refuse(content anyelement, rule text) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held constant jsonb := to_jsonb(content);
    broken record;
    named text;
BEGIN
    SELECT n.nspname AS schema, r.relname AS tbl, r.oid::regclass AS relation,
        obj_description(c.oid, 'pg_constraint') AS remedy,
        array_agg(a.attname::text) AS columns,
        string_agg(
            a.attname || ' ' || CASE
                WHEN held ->> a.attname IS NULL THEN 'null'
                WHEN a.attname ~ '(^|_)(ha1|pin|digest|password|secret|token)(_|$)' THEN '(not shown)'
                WHEN jsonb_typeof(held -> a.attname) = 'string' THEN '"' || left(held ->> a.attname, 100) || '"'
                ELSE left(held ->> a.attname, 100)
            END, ', ' ORDER BY a.attnum
        ) AS shown
    INTO broken
    FROM pg_type AS t
    JOIN pg_class AS r ON r.oid = t.typrelid
    JOIN pg_namespace AS n ON n.oid = r.relnamespace
    JOIN pg_constraint AS c ON c.conrelid = r.oid AND c.conname = rule
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = ANY (c.conkey) AND a.attnum > 0
    WHERE t.oid = pg_typeof(content)
    GROUP BY n.oid, r.oid, c.oid;
    BEGIN
        named := control.row_name(broken.relation, held);
    EXCEPTION
        WHEN insufficient_privilege THEN  -- who may write the row but not read the names of its owners
            NULL;
    END;
    RAISE EXCEPTION '% %: %', broken.tbl, coalesce(named, '?'), regexp_replace(
            broken.shown
            || CASE cardinality(broken.columns) WHEN 1 THEN ' does not fit' ELSE ' do not fit together' END,
            '[\u0001-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]', '?', 'g')
        USING ERRCODE = 'check_violation', SCHEMA = broken.schema, TABLE = broken.tbl, CONSTRAINT = rule,
              COLUMN = CASE cardinality(broken.columns) WHEN 1 THEN broken.columns[1] ELSE '' END,
              HINT = upper(left(broken.remedy, 1)) || substr(broken.remedy, 2) || '.';
END
$$;
COMMENT ON FUNCTION control.refuse IS
    'The end of a CHECK, reached when its rule does not hold: raises an error with the row''s natural name, the values '
    'and the comment of the constraint. control.explain_refusals() writes it.';

CREATE FUNCTION control.refuse_null() RETURNS trigger
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    missing record;
    named text;
BEGIN
    SELECT a.attname AS name, rtrim(col_description(a.attrelid, a.attnum), '.') AS meaning INTO missing
    FROM pg_attribute AS a
    WHERE a.attrelid = TG_RELID AND a.attnotnull AND a.attnum > 0 AND to_jsonb(NEW) ->> a.attname IS NULL
    ORDER BY a.attnum LIMIT 1;
    BEGIN
        named := control.row_name(TG_RELID, to_jsonb(NEW));
    EXCEPTION
        WHEN insufficient_privilege THEN
            NULL;
    END;
    RAISE EXCEPTION '% %: % is missing', TG_TABLE_NAME, coalesce(named, '?'), missing.name
        USING ERRCODE = 'not_null_violation', SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = missing.name,
              HINT = format('Give it a value. %s.', missing.meaning);
END
$$;
COMMENT ON FUNCTION control.refuse_null IS
    'Refuses a row without a value that it needs, before NOT NULL does, which would print the row.';

-- Whoever writes a row calls them; they do nothing but raise.
GRANT EXECUTE ON FUNCTION control.row_name, control.refuse, control.refuse_null TO PUBLIC;

CREATE PROCEDURE control.explain_refusals()
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    one record;
    unsaid text;
BEGIN
    SELECT string_agg(format('%s of %s', c.conname, coalesce(nullif(c.conrelid, 0)::regclass::text,
                                                             'domain ' || c.contypid::regtype)), ', ')
    INTO unsaid
    FROM pg_constraint AS c
    WHERE c.connamespace = 'public'::regnamespace AND c.contype = 'c'
        AND obj_description(c.oid, 'pg_constraint') IS NULL
        AND (c.contypid <> 0 OR pg_get_expr(c.conbin, c.conrelid) !~ '\mcontrol\.refuse\(');
    IF unsaid IS NOT NULL THEN
        RAISE EXCEPTION 'constraints without a comment: %', unsaid
            USING HINT = 'Say what to do: COMMENT ON CONSTRAINT ... ON [DOMAIN] ... IS ''choose this or that'';';
    END IF;

    -- The CHECK of a domain fires before the row is known: its rule becomes a function, for a CHECK of each column.
    FOR one IN
        SELECT 'fits_' || t.typname AS judge, format_type(t.typbasetype, t.typtypmod) AS base,
            string_agg(regexp_replace(pg_get_expr(c.conbin, 0), '\mVALUE\M', 'value', 'g'), ' AND ') AS rule,
            string_agg(obj_description(c.oid, 'pg_constraint'), ', ') AS form,
            string_agg(format('ALTER DOMAIN %s DROP CONSTRAINT %I', t.oid::regtype, c.conname), '; ') AS move
        FROM pg_constraint AS c JOIN pg_type AS t ON t.oid = c.contypid
        WHERE c.connamespace = 'public'::regnamespace AND c.contype = 'c'
        GROUP BY t.oid
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE FUNCTION control.%I(value %s) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN %s',
            one.judge, one.base, one.rule);
        EXECUTE format('COMMENT ON FUNCTION control.%I IS %L', one.judge, one.form);
        EXECUTE format('GRANT EXECUTE ON FUNCTION control.%I TO PUBLIC', one.judge);
        EXECUTE one.move;
    END LOOP;

    -- One ALTER TABLE for all its rules: the rows are read once.
    FOR one IN
        WITH relation AS (
            SELECT c.oid, c.oid::regclass AS tbl, c.relname AS name FROM pg_class AS c
            WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
        ), wanted AS (
            SELECT r.tbl, r.name, format('%s_%s_form', r.name, a.attname) AS rule,
                format('control.%I(%I)', p.proname, a.attname) AS holds,
                'it must be ' || obj_description(p.oid, 'pg_proc') AS remedy,
                c.oid IS NOT NULL AS is_there, false AS plain
            FROM relation AS r
            JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0
            JOIN pg_type AS t ON t.oid = a.atttypid AND t.typtype = 'd'
            JOIN pg_proc AS p ON p.pronamespace = 'control'::regnamespace AND p.proname = 'fits_' || t.typname
            LEFT JOIN pg_constraint AS c
                ON c.conrelid = r.oid AND c.conname = format('%s_%s_form', r.name, a.attname)
            UNION ALL
            SELECT r.tbl, r.name, c.conname, pg_get_expr(c.conbin, r.oid),
                obj_description(c.oid, 'pg_constraint'), false, true
            FROM relation AS r JOIN pg_constraint AS c ON c.conrelid = r.oid AND c.contype = 'c'
            WHERE pg_get_expr(c.conbin, r.oid) !~ '\mcontrol\.refuse\('
        )
        SELECT tbl, string_agg(
                CASE WHEN plain THEN format('DROP CONSTRAINT %I, ', rule) ELSE '' END
                || format('ADD CONSTRAINT %I CHECK ((%s) IS NOT FALSE OR control.refuse(%I, %L))',
                          rule, holds, name, rule),
                ', ') FILTER (WHERE NOT is_there) AS actions,
            string_agg(format('COMMENT ON CONSTRAINT %I ON %s IS %L', rule, tbl, remedy), '; ') AS comments
        FROM wanted GROUP BY tbl
    LOOP
        IF one.actions IS NOT NULL THEN
            EXECUTE format('ALTER TABLE %s %s', one.tbl, one.actions);
        END IF;
        EXECUTE one.comments;
    END LOOP;

    -- Triggers fire by name: this one before all that look at the values.
    FOR one IN
        SELECT a.attrelid::regclass AS tbl,
            string_agg(format('NEW.%I IS NULL', a.attname), ' OR ' ORDER BY a.attnum) AS missing
        FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
            AND a.attnum > 0 AND a.attnotnull AND a.attgenerated = ''
        GROUP BY a.attrelid
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER absent_value BEFORE INSERT OR UPDATE ON %s FOR EACH ROW WHEN (%s)
                 EXECUTE FUNCTION control.refuse_null()', one.tbl, one.missing);
    END LOOP;
END
$$;
COMMENT ON PROCEDURE control.explain_refusals IS
    'Rewrites what it has not yet: every CHECK of schema public, and those of the domains of its columns, to name the '
    'row and say what to do (the comment of the constraint); a missing value likewise.';

COMMENT ON CONSTRAINT slug_form ON DOMAIN public.slug IS
    '1 to 32 lower-case letters, digits and inner hyphens, such as acme or carrier-a';
COMMENT ON CONSTRAINT dns_name_form ON DOMAIN public.dns_name IS
    'a DNS name in lower case with a dot, such as acme.example';
COMMENT ON CONSTRAINT host_form ON DOMAIN public.host IS 'a host name in lower case or an IPv4 address';
COMMENT ON CONSTRAINT host_address_single ON DOMAIN public.host_address IS 'one IP address, not a network';
COMMENT ON CONSTRAINT port_range ON DOMAIN public.port IS 'a port from 1 to 65535';
COMMENT ON CONSTRAINT weight_range ON DOMAIN public.weight IS 'a weight from 1 to 1000';
COMMENT ON CONSTRAINT priority_range ON DOMAIN public.priority IS 'a priority from 0 to 65535';
COMMENT ON CONSTRAINT call_limit_range ON DOMAIN public.call_limit IS
    'a limit from 0 to 100000, or nothing for no limit';
COMMENT ON CONSTRAINT seconds_range ON DOMAIN public.seconds IS 'a time from 1 to 600 seconds';
COMMENT ON CONSTRAINT e164_form ON DOMAIN public.e164 IS 'a number with + and country code, such as +4930555010';
COMMENT ON CONSTRAINT number_prefix_form ON DOMAIN public.number_prefix IS
    'the first digits of a number after the +, such as 49, or empty for every number';
COMMENT ON CONSTRAINT dialable_form ON DOMAIN public.dialable IS '1 to 16 digits and stars, such as 101 or *98';
COMMENT ON CONSTRAINT mailbox_form ON DOMAIN public.mailbox IS '1 to 16 digits';
COMMENT ON CONSTRAINT emergency_form ON DOMAIN public.emergency IS '2 to 6 digits, such as 112';
COMMENT ON CONSTRAINT sip_user_form ON DOMAIN public.sip_user IS
    '1 to 64 lower-case letters, digits, dots, hyphens and underscores, such as alice or desk1';
COMMENT ON CONSTRAINT auth_name_form ON DOMAIN public.auth_name IS '1 to 128 letters, digits and + . _ @ -';
COMMENT ON CONSTRAINT ha1_md5_form ON DOMAIN public.ha1_md5 IS
    '32 hex digits: a digest. Let set_device_password() or set_trunk_password() make it';
COMMENT ON CONSTRAINT ha1_sha256_form ON DOMAIN public.ha1_sha256 IS
    '64 hex digits: a digest. Let set_device_password() make it';
COMMENT ON CONSTRAINT pin_digest_form ON DOMAIN public.pin_digest IS
    '40 hex digits: a digest. Let set_mailbox_pin() make it';
COMMENT ON CONSTRAINT label_form ON DOMAIN public.label IS
    'up to 80 characters without ; = double quotes \ $ ` { } < > | or control characters';
COMMENT ON CONSTRAINT word_form ON DOMAIN public.word IS
    'one word of lower-case letters, digits and hyphens, such as fraud';
COMMENT ON CONSTRAINT country_form ON DOMAIN public.country IS 'two capital letters, such as DE';
COMMENT ON CONSTRAINT language_form ON DOMAIN public.language IS 'a language such as de, en or en_GB';
COMMENT ON CONSTRAINT email_form ON DOMAIN public.email IS 'an e-mail address, such as alice@acme.example';
COMMENT ON CONSTRAINT step_form ON DOMAIN public.step IS
    'busy, announce, voicemail, hangup, extension:102 or number:+49301234567';

COMMENT ON CONSTRAINT countries_calling_code_form ON public.countries IS 'write 1 to 3 digits without +';
COMMENT ON CONSTRAINT settings_name_form ON public.settings IS
    'write 1 to 32 lower-case letters, digits and underscores, a letter first, such as zone';
COMMENT ON CONSTRAINT settings_value_form ON public.settings IS 'write 1 to 128 letters, digits and _ . : / @ + * -';
COMMENT ON CONSTRAINT settings_zone ON public.settings IS
    'write the zone as a DNS name in lower case with a dot, such as dialplane.internal';
COMMENT ON CONSTRAINT nodes_kind ON public.nodes IS 'choose edge or media';
COMMENT ON CONSTRAINT nodes_state ON public.nodes IS 'choose enabled, draining or disabled';
COMMENT ON CONSTRAINT nodes_group ON public.nodes IS
    'a media node has a cluster and no device group, an edge has a device group and no cluster: set both so';
COMMENT ON CONSTRAINT accounts_status ON public.accounts IS 'choose active or suspended';
COMMENT ON CONSTRAINT users_permission ON public.users IS 'choose internal, national or international';
COMMENT ON CONSTRAINT extensions_kind ON public.extensions IS
    'choose user, voicemail, voicemail_main, echo, announcement or number';
COMMENT ON CONSTRAINT extensions_user ON public.extensions IS
    'kind user needs a user, and only kind user has one: set or clear user_id, or choose another kind';
COMMENT ON CONSTRAINT extensions_target ON public.extensions IS
    'give a mailbox for kind voicemail, a word for announcement, a number with + for number, and leave target empty '
    'for the others';
COMMENT ON CONSTRAINT trunks_transport ON public.trunks IS 'choose udp, tcp or tls';
COMMENT ON CONSTRAINT trunks_number_format ON public.trunks IS 'choose e164, digits or national';
COMMENT ON CONSTRAINT trunks_auth ON public.trunks IS
    'give all three of auth_user, auth_realm and password (auth_ha1_md5), as set_trunk_password() does, or none';
COMMENT ON CONSTRAINT trunks_register ON public.trunks IS
    'register needs auth_user, auth_realm and password: set them with set_trunk_password(), or leave register false';
COMMENT ON CONSTRAINT trunk_addresses_size ON public.trunk_addresses IS
    'write smaller networks: a trunk address covers 256 hosts at most (/24, or /120 in IPv6)';
COMMENT ON CONSTRAINT blocks_scope ON public.blocks IS 'choose account, device, source or all';
COMMENT ON CONSTRAINT blocks_what ON public.blocks IS
    'write the first digits of a number with +, such as +88213, or * for everything';
COMMENT ON CONSTRAINT blocks_subject ON public.blocks IS
    'write an account name, device@domain or an IP address, as the scope says, or * for scope all';
COMMENT ON CONSTRAINT blocks_everything ON public.blocks IS
    'name a prefix, such as +88213: scope all with what * would stop every call';

CALL control.explain_refusals();
