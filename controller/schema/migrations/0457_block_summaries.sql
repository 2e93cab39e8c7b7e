-- What an edge holds of a subject's blocks says at once whether the call is looked at further: a look-up, not a search.

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
        -- The bits of kamailio/blocks.cfg; begins of prefixes and of countries' numbers, classes, countries; lengths of
        -- prefixes; the lowest cap.
        SELECT w.scope, w.subject, bit_or(CASE
                WHEN b.most IS NOT NULL THEN 16
                WHEN b.what = '*' THEN 8
                WHEN b.what = 'outside' THEN 4
                WHEN b.what IN ('premium', 'shared_cost', 'satellite', 'high_risk', 'unallocated') THEN 1
                -- A country without a calling code is looked for in every number.
                WHEN b.what ~ '^[A-Za-z]' AND c.code IS NULL THEN 3
                WHEN b.what IS NOT NULL THEN 0
            END) || concat('/',
            string_agg(DISTINCT t.token || '/', '' ORDER BY t.token || '/'),
            ';lengths=' || string_agg(DISTINCT to_char(length(b.what), 'FM00'), '/' ORDER BY to_char(length(b.what), 'FM00') DESC)
                FILTER (WHERE b.what ^@ '+'),
            (array_agg(format(';most=%s;until=%s', b.most, coalesce(ceil(extract(epoch FROM b.expires_at))::bigint, 4102444800))
                       ORDER BY b.most) FILTER (WHERE b.most IS NOT NULL))[1]
        ) AS value
        FROM whom AS w
        LEFT JOIN public.blocks AS b USING (scope, subject)
        LEFT JOIN public.countries AS c ON c.code = b.what
        LEFT JOIN LATERAL (
            SELECT left(one.begin || digit, 3)
            FROM (VALUES (b.what), ('+' || c.calling_code)) AS one (begin), generate_series(0, 9) AS digit
            WHERE one.begin ^@ '+'
            UNION
            SELECT b.what WHERE b.what ~ '^[A-Za-z]' AND b.what <> 'outside'
        ) AS t (token) ON true
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
