-- Operational state is published by the transaction that changes the row: live at commit, with no controller.

CREATE FUNCTION control.revision_digest(number bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH one AS (
        SELECT encode(sha256(
            coalesce('\x01'::bytea || convert_to(kind, 'UTF8') || '\x00', '\x00')
            || coalesce('\x01'::bytea || convert_to(scope, 'UTF8') || '\x00', '\x00')
            || coalesce('\x01'::bytea || convert_to(tbl, 'UTF8') || '\x00', '\x00')
            || coalesce('\x01'::bytea || convert_to(key, 'UTF8') || '\x00', '\x00')
            || coalesce('\x01'::bytea || convert_to(old, 'UTF8') || '\x00', '\x00')
            || coalesce('\x01'::bytea || convert_to(new, 'UTF8') || '\x00', '\x00')
        ), 'hex') AS hash
        FROM control.changes
        WHERE revision = number
    ), word AS (
        -- The sum of 256-bit numbers, by words of 32 bits; place 0 is the lowest.
        SELECT place, sum(('x' || substr(hash, 57 - place * 8, 8))::bit(32)::bigint) * 2::numeric ^ (32 * place) AS part
        FROM one CROSS JOIN generate_series(0, 7) AS place
        GROUP BY place
    )
    SELECT string_agg(
        lpad(to_hex(mod(div(coalesce((SELECT sum(part) FROM word), 0), 2::numeric ^ (32 * place)),
                        4294967296)::bigint), 8, '0'),
        '' ORDER BY place DESC
    )
    FROM generate_series(0, 7) AS place
$$;
COMMENT ON FUNCTION control.revision_digest IS
    'Digest of the changes of a revision: the sum of the SHA-256 of each; the same as controller.entries.digest.';

CREATE FUNCTION control.publish_operational(items jsonb, why text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    newest record;
    number bigint;
    changed jsonb;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('dialplane.publish'));
    SELECT jsonb_agg(jsonb_build_object(
        'kind', i.kind, 'scope', i.scope, 'tbl', i.tbl, 'key', i.key, 'account', coalesce(i.account, e.account),
        'old', e.value, 'new', i.value
    )) INTO changed
    FROM jsonb_to_recordset(items) AS i (kind text, scope text, tbl text, key text, value text, account text)
    LEFT JOIN control.entries AS e USING (kind, scope, tbl, key)
    WHERE e.value IS DISTINCT FROM i.value;
    IF changed IS NULL THEN
        RETURN NULL;
    END IF;

    -- By time as well: transaction numbers start again when a dump is restored into a new cluster.
    SELECT r.id, r.state = 'operational'
            AND r.transaction = pg_current_xact_id() AND r.created_at = now() AS ours INTO newest
    FROM control.revisions AS r ORDER BY r.id DESC LIMIT 1;
    IF newest.ours THEN
        number := newest.id;
    ELSE
        number := coalesce(newest.id, 0) + 1;
        INSERT INTO control.revisions (id, state, base, digest, author, reason)
        VALUES (number, 'operational', newest.id, '', control.actor(), why);
    END IF;

    WITH item AS (
        SELECT * FROM jsonb_to_recordset(changed)
            AS i (kind text, scope text, tbl text, key text, account text, old text, new text)
    ), reverted AS (
        DELETE FROM control.changes AS c USING item AS i
        WHERE c.revision = number AND (c.kind, c.scope, c.tbl, c.key) = (i.kind, i.scope, i.tbl, i.key)
            AND c.old IS NOT DISTINCT FROM i.new
        RETURNING c.kind, c.scope, c.tbl, c.key
    )
    INSERT INTO control.changes AS c (revision, kind, scope, tbl, key, account, old, new, reason)
    SELECT number, i.kind, i.scope, i.tbl, i.key, i.account, i.old, i.new, why
    FROM item AS i
    WHERE (i.kind, i.scope, i.tbl, i.key) NOT IN (SELECT r.kind, r.scope, r.tbl, r.key FROM reverted AS r)
    ON CONFLICT (revision, kind, scope, tbl, key) DO UPDATE SET new = excluded.new, reason = excluded.reason;

    DELETE FROM control.entries AS e
    USING jsonb_to_recordset(changed) AS i (kind text, scope text, tbl text, key text, new text)
    WHERE i.new IS NULL AND (e.kind, e.scope, e.tbl, e.key) = (i.kind, i.scope, i.tbl, i.key);
    INSERT INTO control.entries (kind, scope, tbl, key, value, account, revision)
    SELECT i.kind, i.scope, i.tbl, i.key, i.new, i.account, number
    FROM jsonb_to_recordset(changed) AS i (kind text, scope text, tbl text, key text, account text, new text)
    WHERE i.new IS NOT NULL
    ON CONFLICT (kind, scope, tbl, key)
        DO UPDATE SET value = excluded.value, account = excluded.account, revision = excluded.revision;

    UPDATE control.revisions AS r
    SET digest = control.revision_digest(number), creates = c.creates, updates = c.updates, deletes = c.deletes
    FROM (
        SELECT count(*) FILTER (WHERE old IS NULL) AS creates,
            count(*) FILTER (WHERE old IS NOT NULL AND new IS NOT NULL) AS updates,
            count(*) FILTER (WHERE new IS NULL) AS deletes
        FROM control.changes WHERE revision = number
    ) AS c
    WHERE r.id = number;
    PERFORM pg_notify('dialplane_revision', number::text);
    RETURN number;
END
$$;
COMMENT ON FUNCTION control.publish_operational(jsonb, text) IS
    'Publishes entries (array of kind, scope, tbl, key, value, account; value null deletes) whose value really '
    'changes, as the one operational revision of this transaction. The number of that revision; null: no change.';

CREATE FUNCTION control.publish_operational(kind text, scope text, tbl text, key text, value text) RETURNS bigint
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    SELECT control.publish_operational(
        jsonb_build_array(jsonb_build_object('kind', kind, 'scope', scope, 'tbl', tbl, 'key', key, 'value', value)),
        format('%s %s', tbl, key)
    )
$$;
COMMENT ON FUNCTION control.publish_operational(text, text, text, text, text) IS
    'The same for one entry; value null deletes it.';

CREATE FUNCTION control.target_value(cluster bigint) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(
        format('%s=%s:%s,%s', n.name,
               CASE family(n.address) WHEN 4 THEN host(n.address) ELSE '[' || host(n.address) || ']' END,
               n.sip_port, n.weight),
        ' ' ORDER BY n.name COLLATE "C"
    )
    FROM public.nodes AS n
    WHERE n.cluster_id = cluster AND n.kind = 'media' AND n.state = 'enabled'
$$;
COMMENT ON FUNCTION control.target_value IS
    'The media nodes of a cluster that take calls, as the entry target holds them; null: none.';

CREATE FUNCTION control.publish_targets() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    touched bigint[] := '{}';
    items jsonb;
BEGIN
    -- First the lock, then the look: two nodes of a cluster may change at the same time.
    PERFORM pg_advisory_xact_lock(hashtext('dialplane.publish'));
    IF TG_OP <> 'DELETE' THEN
        touched := touched || ARRAY(SELECT cluster_id FROM new_rows WHERE cluster_id IS NOT NULL);
    END IF;
    IF TG_OP <> 'INSERT' THEN
        touched := touched || ARRAY(SELECT cluster_id FROM old_rows WHERE cluster_id IS NOT NULL);
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
COMMENT ON FUNCTION control.publish_targets IS 'Publishes the targets of the clusters whose nodes changed.';

CREATE TRIGGER publish_insert AFTER INSERT ON public.nodes REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.publish_targets();
CREATE TRIGGER publish_update AFTER UPDATE ON public.nodes REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.publish_targets();
CREATE TRIGGER publish_delete AFTER DELETE ON public.nodes REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.publish_targets();

CREATE FUNCTION control.publish_cluster_name() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('dialplane.publish'));
    PERFORM control.publish_operational(
        jsonb_build_array(
            jsonb_build_object('kind', 'edge', 'scope', '*', 'tbl', 'target', 'key', OLD.name, 'value', NULL),
            jsonb_build_object('kind', 'edge', 'scope', '*', 'tbl', 'target', 'key', NEW.name,
                               'value', control.target_value(NEW.id))
        ),
        format('cluster %s is now called %s', OLD.name, NEW.name)
    );
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.publish_cluster_name IS 'Moves the targets of a cluster to its new name.';

CREATE TRIGGER publish_name AFTER UPDATE ON public.clusters FOR EACH ROW
    WHEN (NEW.name IS DISTINCT FROM OLD.name) EXECUTE FUNCTION control.publish_cluster_name();

CREATE FUNCTION control.publish_blocks() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    items jsonb := '[]';
    gone jsonb;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('dialplane.publish'));
    IF TG_OP <> 'INSERT' THEN
        SELECT jsonb_agg(jsonb_build_object('kind', 'edge', 'scope', '*', 'tbl', 'block',
                                            'key', concat_ws(':', o.scope, o.subject, o.what), 'value', NULL))
        INTO gone
        FROM old_rows AS o
        WHERE NOT EXISTS (
            SELECT FROM public.blocks AS b WHERE (b.scope, b.subject, b.what) = (o.scope, o.subject, o.what)
        );
        items := items || coalesce(gone, '[]'::jsonb);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        items := items || coalesce((
            SELECT jsonb_agg(jsonb_build_object(
                'kind', 'edge', 'scope', '*', 'tbl', 'block', 'key', concat_ws(':', scope, subject, what),
                'value', new_rows.reason, 'account', CASE scope WHEN 'account' THEN subject END))
            FROM new_rows
        ), '[]');
    END IF;
    IF items <> '[]' THEN
        PERFORM control.publish_operational(
            items, CASE TG_OP WHEN 'INSERT' THEN 'block set' WHEN 'DELETE' THEN 'block lifted' ELSE 'block changed' END
        );
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.publish_blocks IS 'Publishes blocks that were set, changed or lifted.';

CREATE TRIGGER publish_insert AFTER INSERT ON public.blocks REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.publish_blocks();
CREATE TRIGGER publish_update AFTER UPDATE ON public.blocks REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.publish_blocks();
CREATE TRIGGER publish_delete AFTER DELETE ON public.blocks REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.publish_blocks();

CREATE FUNCTION control.release_expired_blocks() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    released bigint;
BEGIN
    DELETE FROM public.blocks WHERE expires_at <= clock_timestamp();
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END
$$;
COMMENT ON FUNCTION control.release_expired_blocks IS 'Deletes the blocks whose time is over; how many.';

CREATE FUNCTION control.notify_node() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('dialplane_node', NEW.node);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.notify_node IS 'Tells listeners which node''s state changed.';

CREATE TRIGGER notify_insert AFTER INSERT ON control.node_state
    FOR EACH ROW EXECUTE FUNCTION control.notify_node();
-- A sign of life alone is no news.
CREATE TRIGGER notify_update AFTER UPDATE ON control.node_state FOR EACH ROW
    WHEN ((NEW.revision, NEW.verified_revision, NEW.verified_at, NEW.drift, NEW.drift_detail, NEW.repaired,
           NEW.last_error, NEW.server_started, NEW.agent_started, NEW.pending)
          IS DISTINCT FROM
          (OLD.revision, OLD.verified_revision, OLD.verified_at, OLD.drift, OLD.drift_detail, OLD.repaired,
           OLD.last_error, OLD.server_started, OLD.agent_started, OLD.pending))
    EXECUTE FUNCTION control.notify_node();
