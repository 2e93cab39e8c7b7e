-- Do rows, what is published, and what nodes run agree about every account? Tables are compared by sums, not key by key.

CREATE TABLE control.node_digests (
    node text NOT NULL,
    tbl text NOT NULL,
    revision bigint NOT NULL,
    of_group text NOT NULL,
    entries bigint NOT NULL,
    buckets bigint[] NOT NULL CONSTRAINT node_digests_buckets CHECK (cardinality(buckets) = 256),
    at timestamptz NOT NULL,
    CONSTRAINT node_digests_pkey PRIMARY KEY (node, tbl)
);
COMMENT ON TABLE control.node_digests IS
    'What a node''s agent read from its server at its last full comparison, of the tables that say where accounts are served.';
COMMENT ON COLUMN control.node_digests.node IS 'Name of the node.';
COMMENT ON COLUMN control.node_digests.tbl IS
    'Table of the node. Of the dialplan of a media node only the extension that every account has there counts.';
COMMENT ON COLUMN control.node_digests.revision IS
    'Revision it held when the comparison began: buckets in which something was published since say nothing.';
COMMENT ON COLUMN control.node_digests.of_group IS
    'Whose entries it held (control.node_group): when that is another group now, it says nothing.';
COMMENT ON COLUMN control.node_digests.entries IS 'How many entries.';
COMMENT ON COLUMN control.node_digests.buckets IS
    'Sums of 32 bits of the MD5 of key, line feed and value; an entry''s bucket is the first byte of the MD5 of its key.';
COMMENT ON COLUMN control.node_digests.at IS 'When the comparison ended.';
COMMENT ON CONSTRAINT node_digests_buckets ON control.node_digests IS 'a table has 256 buckets';

CREATE TABLE control.disagreements (
    account text,
    what text NOT NULL,
    place text NOT NULL,
    expected text,
    found text,
    done text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT disagreements_key UNIQUE NULLS NOT DISTINCT (account, what, place)
);
COMMENT ON TABLE control.disagreements IS
    'What the active controller found at its last look to disagree about accounts: at most 1,000 rows.';
COMMENT ON COLUMN control.disagreements.account IS 'Account; null: all.';
COMMENT ON COLUMN control.disagreements.what IS 'What differs.';
COMMENT ON COLUMN control.disagreements.place IS 'Where: a node, or what is published.';
COMMENT ON COLUMN control.disagreements.expected IS 'What should be there; null: nothing.';
COMMENT ON COLUMN control.disagreements.found IS 'What is there; null: nothing.';
COMMENT ON COLUMN control.disagreements.done IS 'What is done about it, or its remedy.';
COMMENT ON COLUMN control.disagreements.since IS 'When it was found first.';

CREATE TABLE control.agreement (
    one boolean NOT NULL DEFAULT true CONSTRAINT agreement_pkey PRIMARY KEY CONSTRAINT agreement_one CHECK (one),
    looked_at timestamptz NOT NULL,
    took_ms integer NOT NULL,
    found bigint NOT NULL,
    sentence text NOT NULL
);
COMMENT ON TABLE control.agreement IS 'The last look of the active controller whether all agree: one row.';
COMMENT ON COLUMN control.agreement.one IS 'True.';
COMMENT ON COLUMN control.agreement.looked_at IS 'When it looked.';
COMMENT ON COLUMN control.agreement.took_ms IS 'How long that took, in milliseconds.';
COMMENT ON COLUMN control.agreement.found IS 'How many disagreements it found.';
COMMENT ON COLUMN control.agreement.sentence IS 'The same in words.';
COMMENT ON CONSTRAINT agreement_one ON control.agreement IS 'there is one row';

-- Which accounts a cluster's media nodes hold, without walking their dialplans.
CREATE INDEX entries_held ON control.entries (scope, key)
    WHERE kind = 'media' AND tbl = 'dialplan' AND key LIKE 'account-%/:account';

CREATE FUNCTION control.agreed_entries(kind text, scopes text[]) RETURNS TABLE (tbl text, key text, value text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT e.tbl, e.key, e.value FROM control.entries AS e
    WHERE agreed_entries.kind = 'edge' AND e.kind = 'edge' AND e.scope = ANY (scopes)
        AND e.tbl IN ('account', 'service', 'overflow', 'target', 'edge_node')
    UNION ALL
    -- An account may be served by two of a node's groups: once.
    (SELECT DISTINCT ON (e.key) e.tbl, e.key, e.value FROM control.entries AS e
     WHERE agreed_entries.kind = 'media' AND e.kind = 'media' AND e.scope = ANY (scopes)
        AND e.tbl = 'dialplan' AND e.key LIKE 'account-%/:account'
     ORDER BY e.key)
$$;
COMMENT ON FUNCTION control.agreed_entries IS
    'What is published for nodes of a kind with these scopes, of the tables that say where accounts are served.';

CREATE FUNCTION control.published_digests(kind text, scopes text[])
RETURNS TABLE (tbl text, entries bigint, buckets bigint[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH bucket AS (
        SELECT e.tbl, ('x' || left(md5(e.key), 2))::bit(8)::integer AS number, count(*) AS entries,
            sum(('x' || left(md5(e.key || E'\n' || e.value), 8))::bit(32)::bigint)::bigint AS digest
        FROM control.agreed_entries(kind, scopes) AS e GROUP BY 1, 2
    )
    SELECT t.tbl, sum(coalesce(b.entries, 0))::bigint, array_agg(coalesce(b.digest, 0) ORDER BY n.number)
    FROM (SELECT DISTINCT bucket.tbl FROM bucket) AS t
    CROSS JOIN generate_series(0, 255) AS n (number)
    LEFT JOIN bucket AS b ON b.tbl = t.tbl AND b.number = n.number
    GROUP BY t.tbl
$$;
COMMENT ON FUNCTION control.published_digests IS
    'The same of what is published as control.node_digests of what nodes hold; a table without entries is missing.';

CREATE FUNCTION control.used_scopes(kind text, scopes text[]) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(array_agg(one), '{}') FROM unnest(scopes) AS one
    WHERE EXISTS (SELECT FROM control.entries AS e WHERE e.kind = used_scopes.kind AND e.scope = one)
$$;
COMMENT ON FUNCTION control.used_scopes IS
    'Of these scopes those that something is published for: nodes of many groups often hold the same.';

CREATE FUNCTION control.agreed_changes(since bigint) RETURNS TABLE (scope text, tbl text, key text, revision bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.scope, c.tbl, c.key, max(c.revision) FROM control.changes AS c
    WHERE c.revision > since AND (
        (c.kind = 'edge' AND c.tbl IN ('account', 'service', 'overflow', 'target', 'edge_node'))
        OR (c.kind = 'media' AND c.tbl = 'dialplan' AND c.key LIKE 'account-%/:account'))
    GROUP BY 1, 2, 3
$$;
COMMENT ON FUNCTION control.agreed_changes IS
    'What was published after a revision, of the tables that say where accounts are served.';

CREATE FUNCTION control.placement_differences(most bigint)
RETURNS TABLE (account text, what text, expected text, found text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH rows AS (
        SELECT a.name::text AS account,
            concat_ws(';', 'cluster=' || c.name, 'group=' || g.name, (
                SELECT string_agg(format('%s=%s/%s', s.service, o.name, v.name), ';' ORDER BY s.service COLLATE "C")
                FROM public.account_services AS s
                JOIN public.clusters AS o ON o.id = s.cluster_id
                LEFT JOIN public.clusters AS v ON v.id = s.overflow_cluster_id
                WHERE s.account_id = a.id)) AS place
        FROM public.accounts AS a
        JOIN public.clusters AS c ON c.id = a.cluster_id
        LEFT JOIN public.device_groups AS g ON g.id = a.device_group_id
    ), published AS (
        SELECT e.key AS account,
            (SELECT concat_ws(';',
                'cluster=' || max(split_part(one, '=', 2)) FILTER (WHERE split_part(one, '=', 1) = 'cluster'),
                'group=' || max(split_part(one, '=', 2)) FILTER (WHERE split_part(one, '=', 1) = 'group'),
                string_agg(one, ';' ORDER BY split_part(one, '=', 1) COLLATE "C") FILTER (WHERE split_part(one, '=', 1) IN
                    ('voice', 'voicemail', 'conference', 'queue', 'messaging', 'pstn', 'app')))
             FROM string_to_table(e.value, ';') AS one) AS place
        FROM control.entries AS e WHERE e.kind = 'edge' AND e.scope = '*' AND e.tbl = 'account'
    ), held AS (
        SELECT split_part(substr(e.key, 9), '/', 1) AS account, e.scope AS cluster FROM control.entries AS e
        WHERE e.kind = 'media' AND e.tbl = 'dialplan' AND e.key LIKE 'account-%/:account'
    ), serving AS (
        SELECT a.name::text AS account, c.name::text AS cluster
        FROM public.accounts AS a JOIN public.clusters AS c ON c.id = a.cluster_id
        UNION
        SELECT a.name, c.name
        FROM public.account_services AS s
        JOIN public.accounts AS a ON a.id = s.account_id
        JOIN public.clusters AS c ON c.id IN (s.cluster_id, s.overflow_cluster_id)
    ), overflows AS (
        SELECT c.name::text AS cluster, o.name::text AS over
        FROM public.clusters AS c JOIN public.clusters AS o ON o.id = c.overflow_cluster_id
    ), edges AS (
        SELECT host(n.address) AS address, n.name::text AS name FROM public.nodes AS n WHERE n.kind = 'edge'
    )
    (SELECT coalesce(r.account, p.account), 'place', r.place, p.place
     FROM rows AS r FULL JOIN published AS p ON p.account = r.account WHERE r.place IS DISTINCT FROM p.place LIMIT most)
    UNION ALL
    (SELECT coalesce(s.account, h.account), 'held by cluster ' || coalesce(s.cluster, h.cluster),
        CASE WHEN s.account IS NOT NULL THEN 'yes' END, CASE WHEN h.account IS NOT NULL THEN 'yes' END
     FROM serving AS s FULL JOIN held AS h ON (h.account, h.cluster) = (s.account, s.cluster)
     WHERE s.account IS NULL OR h.account IS NULL LIMIT most)
    UNION ALL
    (SELECT NULL, 'overflow of cluster ' || coalesce(o.cluster, e.key), o.over, e.value
     FROM overflows AS o
     FULL JOIN (SELECT key, value FROM control.entries WHERE kind = 'edge' AND scope = '*' AND tbl = 'overflow') AS e
        ON e.key = o.cluster
     WHERE o.over IS DISTINCT FROM e.value LIMIT most)
    UNION ALL
    (SELECT NULL, 'edge at ' || coalesce(n.address, e.key), n.name, e.value
     FROM edges AS n
     FULL JOIN (SELECT key, value FROM control.entries WHERE kind = 'edge' AND scope = '*' AND tbl = 'edge_node') AS e
        ON e.key = n.address
     WHERE n.name IS DISTINCT FROM e.value LIMIT most)
$$;
COMMENT ON FUNCTION control.placement_differences IS
    'Where what is published says otherwise than the rows who serves an account, which clusters'' nodes hold it, which cluster '
    'takes over, and what the edges are; of each at most so many.';

CREATE FUNCTION control.repair_targets() RETURNS TABLE (cluster text, expected text, found text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Reports change targets all the time: first the lock, then the look; without any lock when nothing differs.
    IF NOT EXISTS (
        SELECT FROM public.clusters AS c
        FULL JOIN (SELECT e.key, e.value FROM control.entries AS e
                   WHERE e.kind = 'edge' AND e.scope = '*' AND e.tbl = 'target') AS t ON t.key = c.name
        WHERE CASE WHEN c.id IS NOT NULL THEN control.target_value(c.id) END IS DISTINCT FROM t.value
    ) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('dialplane.publish'));
    RETURN QUERY
    SELECT coalesce(c.name::text, t.key), CASE WHEN c.id IS NOT NULL THEN control.target_value(c.id) END, t.value
    FROM public.clusters AS c
    FULL JOIN (SELECT e.key, e.value FROM control.entries AS e
               WHERE e.kind = 'edge' AND e.scope = '*' AND e.tbl = 'target') AS t ON t.key = c.name
    WHERE CASE WHEN c.id IS NOT NULL THEN control.target_value(c.id) END IS DISTINCT FROM t.value;
    PERFORM control.publish_operational(jsonb_agg(jsonb_build_object(
            'kind', 'edge', 'scope', '*', 'tbl', 'target', 'key', coalesce(c.name::text, t.key),
            'value', CASE WHEN c.id IS NOT NULL THEN control.target_value(c.id) END)), 'targets compared with conditions')
    FROM public.clusters AS c
    FULL JOIN (SELECT e.key, e.value FROM control.entries AS e
               WHERE e.kind = 'edge' AND e.scope = '*' AND e.tbl = 'target') AS t ON t.key = c.name
    WHERE CASE WHEN c.id IS NOT NULL THEN control.target_value(c.id) END IS DISTINCT FROM t.value;
END
$$;
COMMENT ON FUNCTION control.repair_targets IS
    'Targets that are not what rows and conditions say; they are published again.';

GRANT SELECT ON control.node_digests, control.disagreements, control.agreement
    TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT SELECT, INSERT, UPDATE ON control.node_digests TO dialplane_agent;
GRANT DELETE ON control.node_digests TO dialplane_controller;
GRANT INSERT, UPDATE, DELETE ON control.disagreements, control.agreement TO dialplane_controller;
GRANT EXECUTE ON FUNCTION control.published_digests, control.placement_differences, control.node_group,
    control.used_scopes, control.agreed_changes
    TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT EXECUTE ON FUNCTION control.agreed_entries, control.repair_targets TO dialplane_admin, dialplane_controller;

CALL control.explain_refusals();
