-- Every change of a row people edit is logged and audited, in one statement per statement: a bulk load stays fast.

CREATE FUNCTION control.actor() RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT session_user
        || coalesce(' (' || nullif(left(current_setting('dialplane.actor', true), 80), '') || ')', '')
$$;
COMMENT ON FUNCTION control.actor IS
    'Who acts: the login role, and in brackets the person a program named with SET dialplane.actor.';

CREATE FUNCTION control.redacted(shown jsonb, other jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT shown - ARRAY['ha1_md5', 'ha1_sha256', 'auth_ha1_md5', 'pin_digest'] || coalesce(
        (SELECT jsonb_object_agg(name, 'changed')
         FROM unnest(ARRAY['ha1_md5', 'ha1_sha256', 'auth_ha1_md5', 'pin_digest']) AS name
         WHERE shown ->> name IS DISTINCT FROM other ->> name),
        '{}'
    )
$$;
COMMENT ON FUNCTION control.redacted IS
    'A row for the audit: digests are left out, and where they differ from the other row read "changed".';

-- Arguments of the trigger: expressions over the row r and the joined tables.
--   0 key, 1 account name, 2 joins, 3 true where the row goes because its owner goes (the owner's change is logged)
--   4 state, 5 columns whose change is operational, 6 'secret' where the table holds digests
CREATE FUNCTION control.log_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    picked constant text := format(
        'SELECT r.id, %s AS key, %s AS account, %s AS owner_gone, to_jsonb(r) AS content FROM %%s AS r %s',
        TG_ARGV[0], TG_ARGV[1], TG_ARGV[3], TG_ARGV[2]
    );
    old_shown constant text := CASE TG_ARGV[6] WHEN 'secret' THEN 'control.redacted(%1$s.content, %2$s)' ELSE '%1$s.content' END;
    -- Without another row to compare with, an expression: a function call for each row of a bulk load is dear.
    all_hidden constant text := CASE TG_ARGV[6] WHEN 'secret' THEN $hide$
        p.content || jsonb_strip_nulls(jsonb_build_object(
            'ha1_md5', CASE WHEN p.content ->> 'ha1_md5' IS NOT NULL THEN 'changed' END,
            'ha1_sha256', CASE WHEN p.content ->> 'ha1_sha256' IS NOT NULL THEN 'changed' END,
            'auth_ha1_md5', CASE WHEN p.content ->> 'auth_ha1_md5' IS NOT NULL THEN 'changed' END,
            'pin_digest', CASE WHEN p.content ->> 'pin_digest' IS NOT NULL THEN 'changed' END
        )) $hide$ ELSE 'p.content' END;
    verb constant text := lower(TG_OP);
    who constant text := control.actor();
    logged bigint;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        EXECUTE format(
            $update$
            WITH changed AS MATERIALIZED (
                SELECT o.key AS old_key, n.key, o.account AS old_account, n.account, o.owner_gone,
                    %s AS old_content, %s AS content,
                    CASE WHEN o.content - $2::text[] = n.content - $2::text[] THEN 'operational' ELSE $3 END AS state
                FROM (%s) AS n JOIN (%s) AS o ON o.id = n.id
                WHERE o.content <> n.content
            ), log AS (
                INSERT INTO control.change_log (by, account, state, tbl, key, verb)
                SELECT $4, account, state, $1, key, 'update' FROM changed
                UNION ALL
                SELECT $4, old_account, state, $1, old_key, 'update' FROM changed
                WHERE (old_account, old_key) IS DISTINCT FROM (account, key) AND NOT owner_gone
            ), audit AS (
                INSERT INTO control.audit (by, tbl, key, verb, old, new)
                SELECT $4, $1, coalesce(key, '?'), 'update', old_content, content FROM changed
            )
            SELECT count(*) FROM changed
            $update$,
            format(old_shown, 'o', 'n.content'), format(old_shown, 'n', 'o.content'),
            format(picked, 'new_rows'), format(picked, 'old_rows')
        ) INTO logged USING TG_TABLE_NAME, TG_ARGV[5], TG_ARGV[4], who;
    ELSE
        EXECUTE format(
            $other$
            WITH changed AS MATERIALIZED (
                SELECT p.key, p.account, p.owner_gone, %s AS content FROM (%s) AS p
            ), log AS (
                INSERT INTO control.change_log (by, account, state, tbl, key, verb)
                SELECT $4, account, $2, $1, key, $3 FROM changed WHERE NOT owner_gone
            ), audit AS (
                INSERT INTO control.audit (by, tbl, key, verb, %I)
                SELECT $4, $1, coalesce(key, '?'), $3, content FROM changed
            )
            SELECT count(*) FROM changed
            $other$,
            all_hidden,
            format(picked, CASE TG_OP WHEN 'INSERT' THEN 'new_rows' ELSE 'old_rows' END),
            CASE TG_OP WHEN 'INSERT' THEN 'new' ELSE 'old' END
        ) INTO logged USING TG_TABLE_NAME, TG_ARGV[4], verb, who;
    END IF;
    IF logged > 0 THEN
        PERFORM pg_notify('dialplane_change', '');
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.log_change IS 'Writes the change log and the audit for one statement.';

CREATE FUNCTION control.refuse_truncate() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'table % cannot be truncated: nothing would log which rows went', TG_TABLE_NAME
        USING ERRCODE = 'feature_not_supported', HINT = 'Use DELETE.';
END
$$;
COMMENT ON FUNCTION control.refuse_truncate IS 'Refuses TRUNCATE, which no change log would see.';

DO $$
DECLARE
    one record;
    by_account constant text := 'LEFT JOIN public.accounts AS a ON a.id = r.account_id';
    account_gone constant text := '(r.account_id IS NOT NULL AND a.id IS NULL)';
BEGIN
    FOR one IN
        SELECT * FROM (VALUES
            ('accounts', 'r.name', 'r.name', '', 'false', 'configuration', '{}', ''),
            ('domains', 'r.name', 'a.name', by_account, account_gone, 'configuration', '{}', ''),
            ('users', 'a.name || ''/'' || r.name', 'a.name', by_account, account_gone, 'configuration', '{}', ''),
            ('devices', 'r.name || ''@'' || d.name', 'a.name',
             by_account || ' LEFT JOIN public.domains AS d ON d.id = r.domain_id',
             account_gone, 'configuration', '{}', 'secret'),
            ('extensions', 'a.name || ''/'' || r.extension', 'a.name', by_account, account_gone,
             'configuration', '{}', ''),
            ('numbers', 'r.e164', 'a.name', by_account, account_gone, 'configuration', '{}', ''),
            ('voicemail_boxes', 'r.mailbox || ''@'' || a.name', 'a.name', by_account, account_gone,
             'configuration', '{}', 'secret'),
            ('trunks', 'r.name', 'a.name', by_account, account_gone, 'configuration', '{}', 'secret'),
            ('trunk_addresses', 'r.address::text', 'a.name',
             'LEFT JOIN public.trunks AS t ON t.id = r.trunk_id LEFT JOIN public.accounts AS a ON a.id = t.account_id',
             '(t.id IS NULL)', 'configuration', '{}', ''),
            ('routes', 'coalesce(a.name, ''*'') || ''/'' || r.prefix || ''/'' || t.name', 'a.name',
             by_account || ' LEFT JOIN public.trunks AS t ON t.id = r.trunk_id', account_gone,
             'configuration', '{}', ''),
            ('emergency_numbers', 'r.country || '':'' || r.number', 'NULL::text', '', 'false',
             'configuration', '{}', ''),
            ('emergency_routes', 'n.country || '':'' || n.number || ''/'' || t.name', 'NULL::text',
             'LEFT JOIN public.emergency_numbers AS n ON n.id = r.emergency_number_id '
             'LEFT JOIN public.trunks AS t ON t.id = r.trunk_id', '(n.id IS NULL)', 'configuration', '{}', ''),
            ('clusters', 'r.name', 'NULL::text', '', 'false', 'configuration', '{}', ''),
            ('device_groups', 'r.name', 'NULL::text', '', 'false', 'configuration', '{}', ''),
            ('nodes', 'r.name', 'NULL::text', '', 'false', 'configuration', '{state,weight}', ''),
            ('settings', 'r.name', 'NULL::text', '', 'false', 'configuration', '{}', ''),
            ('blocks', 'r.scope || '':'' || r.subject || '':'' || r.what', 'NULL::text', '', 'false',
             'operational', '{}', '')
        ) AS spec (tbl, key, account, joins, owner_gone, state, operational, secret)
    LOOP
        EXECUTE format(
            'CREATE TRIGGER log_insert AFTER INSERT ON public.%1$I REFERENCING NEW TABLE AS new_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, %3$L, %4$L, %5$L, %6$L, %7$L, %8$L);
             CREATE TRIGGER log_update AFTER UPDATE ON public.%1$I
                 REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, %3$L, %4$L, %5$L, %6$L, %7$L, %8$L);
             CREATE TRIGGER log_delete AFTER DELETE ON public.%1$I REFERENCING OLD TABLE AS old_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, %3$L, %4$L, %5$L, %6$L, %7$L, %8$L);
             CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.%1$I
                 FOR EACH STATEMENT EXECUTE FUNCTION control.refuse_truncate()',
            one.tbl, one.key, one.account, one.joins, one.owner_gone, one.state, one.operational, one.secret
        );
    END LOOP;
END
$$;

-- What all accounts share holds the dialling rules of every country that an account is in.
CREATE FUNCTION control.log_countries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    moved boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        moved := EXISTS (
            SELECT FROM (SELECT DISTINCT country FROM new_rows) AS c
            WHERE NOT EXISTS (
                SELECT FROM public.accounts AS a
                WHERE a.country = c.country AND NOT EXISTS (SELECT FROM new_rows AS n WHERE n.id = a.id)
            )
        );
    ELSIF TG_OP = 'DELETE' THEN
        moved := EXISTS (
            SELECT FROM (SELECT DISTINCT country FROM old_rows) AS c
            WHERE NOT EXISTS (SELECT FROM public.accounts AS a WHERE a.country = c.country)
        );
    ELSE
        moved := EXISTS (
            SELECT FROM new_rows AS n JOIN old_rows AS o ON o.id = n.id WHERE n.country <> o.country
        );
    END IF;
    IF moved THEN
        INSERT INTO control.change_log (by, account, state, tbl, key, verb)
        VALUES (control.actor(), NULL, 'configuration', 'accounts', 'countries', lower(TG_OP));
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.log_countries IS
    'Logs a change of what all accounts share when the first account of a country comes, or the last one goes.';

CREATE TRIGGER log_countries_insert AFTER INSERT ON public.accounts REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.log_countries();
CREATE TRIGGER log_countries_update AFTER UPDATE ON public.accounts
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.log_countries();
CREATE TRIGGER log_countries_delete AFTER DELETE ON public.accounts REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.log_countries();
