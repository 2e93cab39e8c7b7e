-- A call from outside that is sent on is its user's who sends it, or its extension's that is nobody's: rules of scope user see
-- it, and their blocks may name the extension.

CREATE OR REPLACE FUNCTION control.check_block() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    home text;
    emergency record;
BEGIN
    IF NEW.scope = 'account' THEN
        SELECT a.country INTO home FROM public.accounts AS a WHERE a.name = NEW.subject;
    ELSIF NEW.scope = 'user' THEN
        SELECT a.country INTO home
        FROM public.accounts AS a
        WHERE a.name = split_part(NEW.subject, '/', 1)
            AND (EXISTS (SELECT FROM public.users AS u
                          WHERE u.account_id = a.id AND u.name = split_part(NEW.subject, '/', 2))
                OR EXISTS (SELECT FROM public.extensions AS e
                            WHERE e.account_id = a.id AND e.extension = split_part(NEW.subject, '/', 2)));
    ELSIF NEW.scope = 'device' THEN
        SELECT a.country INTO home
        FROM public.devices AS d
        JOIN public.domains AS m ON m.id = d.domain_id
        JOIN public.accounts AS a ON a.id = d.account_id
        WHERE d.name = split_part(NEW.subject, '@', 1) AND m.name = split_part(NEW.subject, '@', 2);
    END IF;
    IF NEW.scope IN ('account', 'user', 'device') AND home IS NULL THEN
        RAISE EXCEPTION 'block %: there is no % of that name', NEW.subject, NEW.scope
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'blocks', COLUMN = 'subject',
                  CONSTRAINT = 'blocks_known',
                  HINT = format('Write the subject as in the table %ss (a device as name@domain, a user as account/name, or account/extension of a forwarding).', NEW.scope);
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

GRANT SELECT (account_id, extension) ON public.extensions TO dialplane_fraud;

COMMENT ON COLUMN public.blocks.subject IS
    'Account name, account/user (or account/extension, of what an extension forwards), device@domain, IP address; * for scope all.';
COMMENT ON COLUMN public.fraud_incidents.subject IS
    'Of whom: device@domain, account/user (or account/extension), account/group, account name, reseller or IP address.';

-- What a subject's entry says are lists joined with /: edges read nothing behind a comma.
CREATE OR REPLACE FUNCTION control.publish_blocks_of(scopes text[], subjects text[], whats text[], why text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    items jsonb;
BEGIN
    WITH touched AS (
        SELECT DISTINCT t.scope, t.subject, t.what FROM unnest(scopes, subjects, whats) AS t (scope, subject, what)
    ), held AS (
        -- Of several blocks of the same the one that ends last.
        SELECT DISTINCT ON (b.scope, b.subject, b.what) b.*
        FROM touched JOIN public.blocks AS b USING (scope, subject, what)
        WHERE b.most IS NULL
        ORDER BY b.scope, b.subject, b.what, b.expires_at DESC NULLS FIRST, b.incident_id DESC NULLS FIRST
    ), whom AS (
        SELECT DISTINCT t.scope, t.subject FROM touched AS t
    ), summary AS (
        SELECT w.scope, w.subject, nullif(concat_ws(';',
            'lengths=' || string_agg(DISTINCT to_char(length(b.what), 'FM00'), '/' ORDER BY to_char(length(b.what), 'FM00') DESC)
                FILTER (WHERE b.what ^@ '+'),
            'begins=' || string_agg(DISTINCT left(b.what, 3), '/') FILTER (WHERE b.what ^@ '+'),
            'kinds=' || string_agg(DISTINCT b.what, '/') FILTER (WHERE b.what ~ '^[A-Za-z]' AND b.what <> 'outside'),
            CASE WHEN bool_or(b.what = 'outside') THEN 'outside=1' END,
            CASE WHEN bool_or(b.what = '*' AND b.most IS NULL) THEN 'all=1' END,
            (array_agg(format('most=%s;until=%s', b.most, coalesce(ceil(extract(epoch FROM b.expires_at))::bigint, 4102444800))
                       ORDER BY b.most) FILTER (WHERE b.most IS NOT NULL))[1]
        ), '') AS value
        FROM whom AS w LEFT JOIN public.blocks AS b USING (scope, subject)
        GROUP BY w.scope, w.subject
    ), item AS (
        SELECT concat_ws(':', t.scope, t.subject, t.what) AS key, t.scope, t.subject,
            h.reason || coalesce(';incident=' || h.incident_id, '')
                || coalesce(';until=' || ceil(extract(epoch FROM h.expires_at))::bigint, '') AS value
        FROM touched AS t LEFT JOIN held AS h USING (scope, subject, what)
        UNION ALL
        SELECT concat_ws(':', s.scope, s.subject), s.scope, s.subject, s.value FROM summary AS s
    )
    SELECT jsonb_agg(jsonb_build_object(
        'kind', 'edge', 'scope', '*', 'tbl', 'block', 'key', i.key, 'value', i.value,
        'account', CASE i.scope WHEN 'account' THEN i.subject WHEN 'user' THEN split_part(i.subject, '/', 1) END
    )) INTO items FROM item AS i;
    IF items IS NOT NULL THEN
        PERFORM control.publish_operational(items, why);
    END IF;
END
$$;

DO $$
BEGIN
    PERFORM control.publish_blocks_of(array_agg(b.scope), array_agg(b.subject), array_agg(b.what), 'blocks in another form')
    FROM public.blocks AS b;
END
$$;

CALL control.explain_refusals();
