-- Which media nodes take new calls now, and how large a share: what rows say of them, and what their agents report.

ALTER TABLE public.nodes
    ADD COLUMN call_cap integer CONSTRAINT nodes_call_cap CHECK (call_cap BETWEEN 1 AND 100000),
    ADD COLUMN load_limit_pct integer CONSTRAINT nodes_load_limit CHECK (load_limit_pct BETWEEN 10 AND 100),
    ADD CONSTRAINT nodes_limits CHECK (kind = 'media' OR (call_cap IS NULL AND load_limit_pct IS NULL));
COMMENT ON COLUMN public.nodes.call_cap IS
    'Calls of a media node at the same time; at so many it gets no new ones until a tenth of the places is free. Null: no '
    'cap. Live at commit.';
COMMENT ON COLUMN public.nodes.load_limit_pct IS
    'Processor load in percent of the machine of a media node; at so much it gets no new calls until the load is a tenth '
    'lower. Null: no limit. Live at commit.';
COMMENT ON CONSTRAINT nodes_call_cap ON public.nodes IS 'write a number of calls from 1 to 100000, or nothing for no cap';
COMMENT ON CONSTRAINT nodes_load_limit ON public.nodes IS 'write a percentage from 10 to 100, or nothing for no limit';
COMMENT ON CONSTRAINT nodes_limits ON public.nodes IS
    'call_cap and load_limit_pct are for media nodes: leave both empty for an edge';

ALTER TABLE control.node_state
    ADD COLUMN up boolean NOT NULL DEFAULT true,
    ADD COLUMN calls integer,
    ADD COLUMN load_pct integer;
COMMENT ON COLUMN control.node_state.up IS 'Whether the server beside the agent answers it.';
COMMENT ON COLUMN control.node_state.calls IS 'Calls that are up on the server; null: not told.';
COMMENT ON COLUMN control.node_state.load_pct IS
    'How busy the processors of the machine were in the last seconds, percent; null: not told.';

CREATE TABLE control.node_condition (
    node text CONSTRAINT node_condition_pkey PRIMARY KEY,
    takes boolean NOT NULL,
    lost boolean NOT NULL,
    why text NOT NULL,
    share_tenths integer NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE control.node_condition IS
    'What follows for new calls from a media node''s row and reports. It changes when something changes, not with each report.';
COMMENT ON COLUMN control.node_condition.node IS 'Name of the node.';
COMMENT ON COLUMN control.node_condition.takes IS 'Whether it takes new calls.';
COMMENT ON COLUMN control.node_condition.lost IS
    'Whether it is only thought not to: it is not heard of, does not answer its agent, or lacks a revision. Where all are '
    'lost they are tried, for it may be that only reports do not arrive.';
COMMENT ON COLUMN control.node_condition.why IS 'Why it takes none; empty: it does.';
COMMENT ON COLUMN control.node_condition.share_tenths IS
    'How much of its cap and load limit is free, in tenths: its weight counts so much.';
COMMENT ON COLUMN control.node_condition.since IS 'Since when.';

CREATE FUNCTION control.condition_of(name text) RETURNS control.node_condition
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT n.name, c.why = '', c.lost, c.why,
        -- A share changes by two tenths or not at all: else each call that comes and goes would be news.
        CASE WHEN abs(c.tenths - was.share_tenths) < 2 THEN was.share_tenths ELSE c.tenths END, now()
    FROM public.nodes AS n
    LEFT JOIN control.node_state AS s ON s.node = n.name
    LEFT JOIN control.node_condition AS was ON was.node = n.name
    CROSS JOIN LATERAL (
        -- What was full stays so until a tenth is free again.
        SELECT n.call_cap * CASE WHEN was.why LIKE 'full: %' THEN 0.9 ELSE 1 END AS cap,
            n.load_limit_pct * CASE WHEN was.why LIKE 'busy: %' THEN 0.9 ELSE 1 END AS load_limit,
            clock_timestamp() - s.heard_at AS silent,
            -- A node has ten seconds for a revision.
            (SELECT r.id FROM control.revisions AS r WHERE r.created_at < clock_timestamp() - interval '10 s'
             ORDER BY r.id DESC LIMIT 1) AS needed
    ) AS l
    CROSS JOIN LATERAL (
        SELECT CASE
                WHEN n.state <> 'enabled' THEN n.state
                WHEN s.heard_at IS NULL THEN 'its agent never reported'
                WHEN l.silent > interval '3 s' THEN 'not heard of'
                WHEN NOT s.up THEN 'its server does not answer'
                WHEN s.revision < l.needed THEN format('behind: at revision %s, not %s', s.revision, l.needed)
                WHEN coalesce(s.calls, 0) >= l.cap THEN format('full: %s of %s calls', n.call_cap, n.call_cap)
                WHEN coalesce(s.load_pct, 0) >= l.load_limit THEN format('busy: load over %s %%', n.load_limit_pct)
                ELSE ''
            END AS why,
            n.state = 'enabled'
                AND (s.heard_at IS NULL OR l.silent > interval '3 s' OR NOT s.up OR coalesce(s.revision < l.needed, false))
            AS lost,
            greatest(1, least(10, ceil(10 * least(
                1 - coalesce(s.calls, 0) / n.call_cap::numeric, 1 - coalesce(s.load_pct, 0) / n.load_limit_pct::numeric
            ))))::integer AS tenths
    ) AS c
    WHERE n.name = condition_of.name AND n.kind = 'media'
$$;
COMMENT ON FUNCTION control.condition_of IS
    'The condition of a media node as its row and last report have it, and the one before: what is full stays so until a '
    'tenth is free. Null: there is no such media node.';

CREATE OR REPLACE FUNCTION control.target_value(cluster bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(
        format('%s=%s:%s,%s', t.name,
               CASE family(t.address) WHEN 4 THEN host(t.address) ELSE '[' || host(t.address) || ']' END,
               t.sip_port, greatest(1, round(t.weight * t.share_tenths / 10.0))),
        ' ' ORDER BY t.name COLLATE "C"
    ) FILTER (WHERE t.takes OR t.all_lost)
    FROM (
        SELECT n.name, n.address, n.sip_port, n.weight, c.takes, coalesce(c.share_tenths, 10) AS share_tenths,
            bool_and(coalesce(c.lost, true)) OVER () AS all_lost
        FROM public.nodes AS n LEFT JOIN control.node_condition AS c ON c.node = n.name
        WHERE n.cluster_id = cluster AND n.kind = 'media' AND n.state = 'enabled'
    ) AS t
$$;
COMMENT ON FUNCTION control.target_value IS
    'The media nodes of a cluster that take calls, as the entry target holds them; all enabled ones when all are lost; '
    'null: none.';

CREATE FUNCTION control.refresh_conditions(names text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    changed text[];
    gone text[];
    items jsonb;
    why text;
BEGIN
    -- Most reports are no news: a look without any lock, and only then one with it (before rows are locked, in this order
    -- everywhere).
    SELECT array_agg(one.name) INTO changed
    FROM unnest(names) AS one (name)
    CROSS JOIN LATERAL control.condition_of(one.name) AS c
    LEFT JOIN control.node_condition AS was ON was.node = one.name
    WHERE (c.takes, c.lost, c.why, c.share_tenths) IS DISTINCT FROM (was.takes, was.lost, was.why, was.share_tenths);
    IF changed IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('dialplane.publish'));
    INSERT INTO control.node_condition AS w
    SELECT c.* FROM unnest(changed) AS one (name) CROSS JOIN LATERAL control.condition_of(one.name) AS c
    WHERE c.node IS NOT NULL
    ON CONFLICT (node) DO UPDATE SET (takes, lost, why, share_tenths, since)
        = (excluded.takes, excluded.lost, excluded.why, excluded.share_tenths,
           CASE WHEN excluded.why = w.why THEN w.since ELSE excluded.since END);
    SELECT jsonb_agg(DISTINCT jsonb_build_object(
            'kind', 'edge', 'scope', '*', 'tbl', 'target', 'key', k.name, 'value', control.target_value(k.id))),
        string_agg(DISTINCT format('%s %s', n.name, CASE WHEN c.takes THEN 'takes calls' ELSE c.why END), '; ')
    INTO items, why
    FROM unnest(changed) AS one (name)
    JOIN public.nodes AS n ON n.name = one.name
    JOIN public.clusters AS k ON k.id = n.cluster_id
    JOIN control.node_condition AS c ON c.node = one.name;
    IF items IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN control.publish_operational(items, left(why, 200));
END
$$;
COMMENT ON FUNCTION control.refresh_conditions IS
    'Looks again whether these nodes take calls, and publishes the targets of their clusters when that changed. The revision; '
    'null: no change.';

CREATE OR REPLACE FUNCTION control.publish_targets() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    touched bigint[] := '{}';
    items jsonb;
BEGIN
    -- First the lock, then the look: two nodes of a cluster may change at the same time.
    PERFORM pg_advisory_xact_lock(hashtext('dialplane.publish'));
    IF TG_OP <> 'INSERT' THEN
        touched := touched || ARRAY(SELECT cluster_id FROM old_rows WHERE cluster_id IS NOT NULL);
        DELETE FROM control.node_condition WHERE node IN (SELECT name FROM old_rows);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        touched := touched || ARRAY(SELECT cluster_id FROM new_rows WHERE cluster_id IS NOT NULL);
        INSERT INTO control.node_condition
        SELECT c.* FROM new_rows AS n CROSS JOIN LATERAL control.condition_of(n.name) AS c WHERE n.kind = 'media';
    END IF;
    SELECT jsonb_agg(jsonb_build_object('kind', 'edge', 'scope', '*', 'tbl', 'target', 'key', c.name,
                                        'value', control.target_value(c.id)))
    INTO items
    FROM public.clusters AS c WHERE c.id = ANY (touched);
    IF items IS NOT NULL THEN
        PERFORM control.publish_operational(items, 'nodes of the cluster changed');
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION control.look_at_report() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- A change waits for the report that it is live: a node without limits that takes calls goes on taking them, and when it
    -- falls behind, control.look_at_nodes() finds that.
    IF TG_OP = 'UPDATE' THEN
        IF NEW.up = OLD.up AND NEW.heard_at <= OLD.heard_at + interval '2 s' AND EXISTS (
            SELECT FROM control.node_condition AS c JOIN public.nodes AS n ON n.name = c.node
            WHERE c.node = NEW.node AND c.takes AND n.call_cap IS NULL AND n.load_limit_pct IS NULL
        ) THEN
            RETURN NULL;
        END IF;
    END IF;
    PERFORM control.refresh_conditions(ARRAY[NEW.node]);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.look_at_report IS 'A media node''s report may change whether it takes calls.';
CREATE TRIGGER condition_insert AFTER INSERT ON control.node_state FOR EACH ROW WHEN (NEW.kind = 'media')
    EXECUTE FUNCTION control.look_at_report();
CREATE TRIGGER condition_update AFTER UPDATE ON control.node_state FOR EACH ROW
    WHEN (NEW.kind = 'media' AND (
        (NEW.up, NEW.calls, NEW.load_pct, NEW.revision) IS DISTINCT FROM (OLD.up, OLD.calls, OLD.load_pct, OLD.revision)
        OR NEW.heard_at > OLD.heard_at + interval '2 s'))
    EXECUTE FUNCTION control.look_at_report();

CREATE FUNCTION control.look_at_nodes() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT control.refresh_conditions(ARRAY(
        SELECT n.name::text FROM public.nodes AS n
        LEFT JOIN control.node_state AS s ON s.node = n.name
        LEFT JOIN control.node_condition AS c ON c.node = n.name
        WHERE n.kind = 'media' AND n.state = 'enabled'
            AND (c.takes IS DISTINCT FROM false OR c.why LIKE 'behind: %'
                OR (s.heard_at < clock_timestamp() - interval '3 s' AND c.why <> 'not heard of'))
    ))
$$;
COMMENT ON FUNCTION control.look_at_nodes IS
    'Looks for nodes that have fallen silent or behind, which no report tells. The revision that follows; null: none.';

DROP TRIGGER notify_update ON control.node_state;
-- A sign of life alone is no news.
CREATE TRIGGER notify_update AFTER UPDATE ON control.node_state FOR EACH ROW
    WHEN ((NEW.revision, NEW.verified_revision, NEW.verified_at, NEW.drift, NEW.drift_detail, NEW.repaired,
           NEW.last_error, NEW.server_started, NEW.agent_started, NEW.pending, NEW.up)
          IS DISTINCT FROM
          (OLD.revision, OLD.verified_revision, OLD.verified_at, OLD.drift, OLD.drift_detail, OLD.repaired,
           OLD.last_error, OLD.server_started, OLD.agent_started, OLD.pending, OLD.up))
    EXECUTE FUNCTION control.notify_node();

INSERT INTO control.node_condition
SELECT c.* FROM public.nodes AS n CROSS JOIN LATERAL control.condition_of(n.name) AS c WHERE n.kind = 'media';

GRANT SELECT ON control.node_condition TO dialplane_admin, dialplane_controller, dialplane_agent, dialplane_reader;
GRANT EXECUTE ON FUNCTION control.look_at_nodes TO dialplane_controller, dialplane_admin;

CALL control.explain_refusals();
