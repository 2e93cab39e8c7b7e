-- A cluster that is nearly full refuses new calls of accounts that have more than their share of it, so that those of the
-- others still find a place. Without caps and load limits nothing of this happens.

ALTER TABLE public.accounts ADD COLUMN overload_announcement boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN public.accounts.overload_announcement IS
    'Callers whose call is refused because of overload hear so from a media node that still has room, before the refusal.';

CREATE TABLE control.node_calls (
    node text CONSTRAINT node_calls_pkey PRIMARY KEY,
    accounts jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE control.node_calls IS
    'Calls of each account on media nodes of clusters that are three quarters full or more; nodes of others do not tell.';
COMMENT ON COLUMN control.node_calls.node IS 'Name of the media node.';
COMMENT ON COLUMN control.node_calls.accounts IS 'Account -> calls that are up.';
COMMENT ON COLUMN control.node_calls.at IS 'When its agent counted them.';

CREATE TABLE control.overloads (
    cluster text CONSTRAINT overloads_pkey PRIMARY KEY,
    level numeric NOT NULL,
    calls bigint NOT NULL,
    room numeric NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE control.overloads IS 'Clusters that are overloaded.';
COMMENT ON COLUMN control.overloads.cluster IS 'Name of the cluster.';
COMMENT ON COLUMN control.overloads.level IS 'Calls that an account may have before its new ones are refused.';
COMMENT ON COLUMN control.overloads.calls IS 'Calls that were up on its media nodes when that was worked out.';
COMMENT ON COLUMN control.overloads.room IS 'For how many there was room then.';
COMMENT ON COLUMN control.overloads.since IS 'Since when it is overloaded.';

CREATE FUNCTION control.cluster_room(cluster text, OUT calls bigint, OUT room numeric)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sum(coalesce(s.calls, 0)),
        -- At its load limit a node carries as many calls as it has now, times what the load may still grow.
        CASE WHEN bool_and(r.room IS NOT NULL) THEN sum(r.room) END
    FROM public.nodes AS n
    JOIN public.clusters AS c ON c.id = n.cluster_id
    JOIN control.node_state AS s ON s.node = n.name
    CROSS JOIN LATERAL (SELECT least(
        n.call_cap::numeric,
        CASE WHEN s.calls > 0 AND s.load_pct > 0 THEN s.calls * n.load_limit_pct / s.load_pct::numeric END
    ) AS room) AS r
    WHERE c.name = cluster_room.cluster AND n.kind = 'media' AND n.state = 'enabled' AND s.up
        AND s.heard_at > clock_timestamp() - interval '3 s'
$$;
COMMENT ON FUNCTION control.cluster_room IS
    'Calls on the media nodes of a cluster that are enabled and heard of, and for how many there is room; null: for all, '
    'for one of them has no limit.';

CREATE FUNCTION control.counts_accounts(name text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM public.nodes AS n
        JOIN public.clusters AS c ON c.id = n.cluster_id
        CROSS JOIN LATERAL control.cluster_room(c.name) AS r
        WHERE n.name = counts_accounts.name AND n.kind = 'media'
            AND (n.call_cap IS NOT NULL OR n.load_limit_pct IS NOT NULL)
            AND (r.calls >= 0.75 * r.room OR EXISTS (SELECT FROM control.overloads AS o WHERE o.cluster = c.name))
    )
$$;
COMMENT ON FUNCTION control.counts_accounts IS
    'Whether the agent of this node shall tell the calls of each account: its cluster is three quarters full.';

CREATE FUNCTION control.fair_level(calls bigint[], places numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (places - o.before) / o.many
    FROM (
        SELECT one, sum(one) OVER w - one AS before, count(*) OVER () - row_number() OVER w + 1 AS many
        FROM unnest(calls) WITH ORDINALITY AS c (one, number)
        WINDOW w AS (ORDER BY one, number)
    ) AS o
    WHERE o.one > (places - o.before) / o.many
    ORDER BY o.one LIMIT 1
$$;
COMMENT ON FUNCTION control.fair_level IS
    'The most that each may have so that all have so many places together, and nobody who wants less gets more (max-min '
    'fair); null: there are places for all.';

CREATE FUNCTION control.overload_of(
    cluster text, OUT level numeric, OUT calls bigint, OUT room numeric, OUT refused text[]
)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    was control.overloads;
    told record;
BEGIN
    SELECT r.calls, r.room INTO calls, room FROM control.cluster_room(overload_of.cluster) AS r;
    SELECT * INTO was FROM control.overloads AS o WHERE o.cluster = overload_of.cluster;
    IF room IS NULL OR calls < room * (CASE WHEN was.cluster IS NULL THEN 0.9 ELSE 0.8 END) THEN
        RETURN;
    END IF;
    SELECT array_agg(a.account) AS accounts, array_agg(a.calls) AS calls INTO told
    FROM (
        SELECT one.key AS account, sum(one.value::bigint)::bigint AS calls
        FROM control.node_calls AS t
        JOIN public.nodes AS n ON n.name = t.node
        JOIN public.clusters AS c ON c.id = n.cluster_id
        CROSS JOIN LATERAL jsonb_each_text(t.accounts) AS one
        WHERE c.name = overload_of.cluster AND n.state = 'enabled' AND t.at > clock_timestamp() - interval '3 s'
        GROUP BY one.key
    ) AS a;
    -- All but a tenth is shared; between the two marks the level stays as it was.
    level := greatest(1, coalesce(control.fair_level(told.calls, room * 0.9), was.level, room));
    refused := '{}';
    IF cardinality(told.accounts) > 1 THEN
        SELECT coalesce(array_agg(a.account ORDER BY a.account COLLATE "C"), '{}') INTO refused
        FROM unnest(told.accounts, told.calls) AS a (account, calls)
        WHERE a.calls > level OR (a.calls > greatest(1, level * 0.9) AND EXISTS (
            SELECT FROM control.entries AS e
            WHERE e.kind = 'edge' AND e.scope = '*' AND e.tbl = 'shed'
                AND e.key = overload_of.cluster || '/' || a.account));
    END IF;
END
$$;
COMMENT ON FUNCTION control.overload_of IS
    'Whether a cluster is overloaded (level null: it is not), and whose new calls are refused then.';

CREATE FUNCTION control.overload_items(cluster text, state control.overloads) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH wanted AS (
        SELECT overload_items.cluster AS key WHERE state.cluster IS NOT NULL
        UNION ALL
        SELECT overload_items.cluster || '/' || account
        FROM unnest((SELECT o.refused FROM control.overload_of(overload_items.cluster) AS o)) AS account
    ), there AS (
        SELECT e.key, e.value FROM control.entries AS e
        WHERE e.kind = 'edge' AND e.scope = '*' AND e.tbl = 'shed'
            AND (e.key = overload_items.cluster OR starts_with(e.key, overload_items.cluster || '/'))
    ), clock AS (
        SELECT extract(epoch FROM clock_timestamp())::bigint AS now
    )
    SELECT jsonb_agg(jsonb_build_object(
        'kind', 'edge', 'scope', '*', 'tbl', 'shed', 'key', coalesce(w.key, t.key),
        'account', nullif(split_part(coalesce(w.key, t.key), '/', 2), ''),
        'value', CASE WHEN w.key IS NOT NULL THEN format('until=%s;level=%s', c.now + 90, trunc(state.level, 1)) END))
    FROM wanted AS w
    FULL JOIN there AS t ON t.key = w.key
    CROSS JOIN clock AS c
    -- An edge obeys for 90 s at most, should nobody be left to take it back; half of that before, it is said again.
    WHERE w.key IS NULL OR t.key IS NULL
        OR (substring(t.value FROM 'until=([0-9]+)'))::bigint < c.now + 45
$$;
COMMENT ON FUNCTION control.overload_items IS
    'What of the edges'' table shed must change for a cluster in that state; null: nothing.';

CREATE FUNCTION control.look_at_overload(cluster text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    now_is record;
    state control.overloads;
    items jsonb;
    locked boolean := false;
BEGIN
    -- Most looks are no news: the first time without any lock.
    LOOP
        SELECT * INTO now_is FROM control.overload_of(look_at_overload.cluster);
        state := NULL;
        IF now_is.level IS NOT NULL THEN
            state := (look_at_overload.cluster, now_is.level, now_is.calls, now_is.room, clock_timestamp());
        END IF;
        items := control.overload_items(look_at_overload.cluster, state);
        IF items IS NULL AND NOT EXISTS (
            SELECT FROM control.overloads AS o WHERE o.cluster = look_at_overload.cluster
                AND (state.cluster IS NULL OR abs(o.level - state.level) > o.level / 20)
        ) THEN
            RETURN NULL;
        END IF;
        EXIT WHEN locked;
        PERFORM pg_advisory_xact_lock(hashtext('dialplane.publish'));
        locked := true;
    END LOOP;
    IF state.cluster IS NULL THEN
        DELETE FROM control.overloads AS o WHERE o.cluster = look_at_overload.cluster;
    ELSE
        INSERT INTO control.overloads AS o (cluster, level, calls, room)
        VALUES (state.cluster, state.level, state.calls, state.room)
        ON CONFLICT ON CONSTRAINT overloads_pkey DO UPDATE SET level = excluded.level, calls = excluded.calls, room = excluded.room;
    END IF;
    IF items IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN control.publish_operational(items, CASE
        WHEN state.cluster IS NULL THEN format('cluster %s is not overloaded any more', look_at_overload.cluster)
        ELSE format('cluster %s is overloaded: %s calls, room for %s', look_at_overload.cluster, now_is.calls,
                    trunc(now_is.room))
    END);
END
$$;
COMMENT ON FUNCTION control.look_at_overload IS
    'Looks whether a cluster is overloaded and whose calls are refused, and publishes what changed. The revision; null: no '
    'change.';

CREATE FUNCTION control.calls_counted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM control.look_at_overload(c.name)
    FROM public.nodes AS n JOIN public.clusters AS c ON c.id = n.cluster_id
    WHERE n.name = coalesce(NEW.node, OLD.node);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.calls_counted IS 'Calls of accounts on a node may change whose calls are refused.';
CREATE TRIGGER counted AFTER INSERT OR UPDATE OR DELETE ON control.node_calls
    FOR EACH ROW EXECUTE FUNCTION control.calls_counted();

CREATE FUNCTION control.look_at_overloads() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT max(control.look_at_overload(o.cluster)) FROM control.overloads AS o
$$;
COMMENT ON FUNCTION control.look_at_overloads IS
    'Looks at clusters that are overloaded: their agents may be silent, or their limits gone. The revision; null: none.';

GRANT SELECT ON control.node_calls, control.overloads
    TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON control.node_calls TO dialplane_agent;
GRANT EXECUTE ON FUNCTION control.counts_accounts TO dialplane_agent;
GRANT EXECUTE ON FUNCTION control.look_at_overloads TO dialplane_controller, dialplane_admin;

CALL control.explain_refusals();
