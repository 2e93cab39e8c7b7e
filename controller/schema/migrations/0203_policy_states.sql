-- Overrides, do not disturb and members that are away: published by the transaction that changes the row, as in 0007.
-- A row keeps the entries it stands in (`published`): they can be taken back when what it belongs to has gone too.

CREATE FUNCTION control.state_flag(account bigint, family text, name text, value text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_array(jsonb_build_object(
        'kind', 'media', 'scope', c.name, 'tbl', 'flag', 'key', concat_ws('/', family, a.name, state_flag.name),
        'value', value, 'account', a.name
    ))
    FROM public.accounts AS a JOIN public.clusters AS c ON c.id = a.cluster_id
    WHERE a.id = account
$$;
COMMENT ON FUNCTION control.state_flag IS 'A flag on the media nodes of an account, for publish_operational.';

CREATE FUNCTION control.state_entries() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    subject text;
BEGIN
    IF TG_TABLE_NAME = 'schedule_overrides' THEN
        SELECT s.name INTO subject FROM public.schedules AS s WHERE s.id = NEW.schedule_id;
        NEW.published := control.state_flag(
            NEW.account_id, 'override', subject,
            CASE WHEN NEW.open THEN 'open' ELSE 'closed' END
                || coalesce(';' || to_char(NEW.until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), '')
        );
    ELSIF TG_TABLE_NAME = 'group_away' THEN
        SELECT concat_ws('/', g.name, coalesce(u.name, d.name || '@' || o.name, m.number)) INTO subject
        FROM public.group_members AS m
        JOIN public.groups AS g ON g.id = m.group_id
        LEFT JOIN public.users AS u ON u.id = m.user_id
        LEFT JOIN public.devices AS d ON d.id = m.device_id
        LEFT JOIN public.domains AS o ON o.id = d.domain_id
        WHERE m.id = NEW.member_id;
        NEW.published := control.state_flag(NEW.account_id, 'away', subject, '1');
    ELSIF NEW.dnd THEN
        SELECT u.name INTO subject FROM public.users AS u WHERE u.id = NEW.user_id;
        -- An edge knows it too: it calls such a user no longer straight.
        SELECT flag || jsonb_build_object(
            'kind', 'edge', 'scope', '*', 'tbl', 'dnd', 'key', a.name || '/' || subject, 'value', '1', 'account', a.name
        ) INTO NEW.published
        FROM control.state_flag(NEW.account_id, 'dnd', subject, '1') AS flag, public.accounts AS a
        WHERE a.id = NEW.account_id;
    ELSE
        NEW.published := '[]';
    END IF;
    -- A foreign key will say that the account or its row is not there.
    NEW.published := coalesce(NEW.published, '[]');
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION control.state_entries IS 'Writes into a row the entries it stands in.';

CREATE FUNCTION control.publish_states() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    items jsonb := '[]';
    gone jsonb := '[]';
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('dialplane.publish'));
    IF TG_OP <> 'DELETE' THEN
        SELECT coalesce(jsonb_agg(i.item), '[]') INTO items
        FROM new_rows AS n CROSS JOIN LATERAL jsonb_array_elements(n.published) AS i (item);
    END IF;
    IF TG_OP <> 'INSERT' THEN
        SELECT coalesce(jsonb_agg(i.item || '{"value": null}'), '[]') INTO gone
        FROM old_rows AS o CROSS JOIN LATERAL jsonb_array_elements(o.published) AS i (item)
        WHERE NOT EXISTS (
            SELECT FROM jsonb_array_elements(items) AS still (item)
            WHERE still.item - 'value' - 'account' = i.item - 'value' - 'account'
        );
    END IF;
    IF items || gone <> '[]' THEN
        PERFORM control.publish_operational(
            items || gone,
            CASE TG_TABLE_NAME
                WHEN 'schedule_overrides' THEN 'override of a schedule'
                WHEN 'group_away' THEN 'member of a group'
                ELSE 'do not disturb'
            END || CASE TG_OP WHEN 'INSERT' THEN ' set' WHEN 'DELETE' THEN ' ended' ELSE ' changed' END
        );
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.publish_states IS 'Publishes overrides, do not disturb and members that are away.';

CREATE FUNCTION control.state_renamed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE public.schedule_overrides AS s SET published = DEFAULT
    WHERE CASE TG_TABLE_NAME
        WHEN 'clusters' THEN s.account_id IN (SELECT a.id FROM public.accounts AS a WHERE a.cluster_id = NEW.id)
        WHEN 'accounts' THEN s.account_id = NEW.id
        WHEN 'schedules' THEN s.schedule_id = NEW.id
        ELSE false
    END;
    UPDATE public.user_states AS s SET published = DEFAULT
    WHERE CASE TG_TABLE_NAME
        WHEN 'clusters' THEN s.account_id IN (SELECT a.id FROM public.accounts AS a WHERE a.cluster_id = NEW.id)
        WHEN 'accounts' THEN s.account_id = NEW.id
        WHEN 'users' THEN s.user_id = NEW.id
        ELSE false
    END;
    UPDATE public.group_away AS s SET published = DEFAULT
    FROM public.group_members AS m
    WHERE m.id = s.member_id AND CASE TG_TABLE_NAME
        WHEN 'clusters' THEN s.account_id IN (SELECT a.id FROM public.accounts AS a WHERE a.cluster_id = NEW.id)
        WHEN 'accounts' THEN s.account_id = NEW.id
        WHEN 'groups' THEN m.group_id = NEW.id
        WHEN 'group_members' THEN m.id = NEW.id
        WHEN 'users' THEN m.user_id = NEW.id
        WHEN 'devices' THEN m.device_id = NEW.id
        ELSE false
    END;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.state_renamed IS
    'Moves what is published of an account, user, schedule, group to its new name.';

DO $$
DECLARE
    tbl text;
BEGIN
    FOREACH tbl IN ARRAY ARRAY['schedule_overrides', 'user_states', 'group_away']
    LOOP
        EXECUTE format(
            'CREATE TRIGGER state_entries BEFORE INSERT OR UPDATE ON public.%1$I
                 FOR EACH ROW EXECUTE FUNCTION control.state_entries();
             CREATE TRIGGER publish_insert AFTER INSERT ON public.%1$I REFERENCING NEW TABLE AS new_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.publish_states();
             CREATE TRIGGER publish_update AFTER UPDATE ON public.%1$I
                 REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.publish_states();
             CREATE TRIGGER publish_delete AFTER DELETE ON public.%1$I REFERENCING OLD TABLE AS old_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.publish_states()', tbl);
    END LOOP;
    FOREACH tbl IN ARRAY ARRAY['clusters', 'users', 'schedules', 'groups', 'devices']
    LOOP
        EXECUTE format(
            'CREATE TRIGGER state_renamed AFTER UPDATE ON public.%1$I FOR EACH ROW
                 WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION control.state_renamed()', tbl);
    END LOOP;
END
$$;
CREATE TRIGGER state_renamed AFTER UPDATE ON public.accounts FOR EACH ROW
    WHEN (OLD.name <> NEW.name OR OLD.cluster_id <> NEW.cluster_id) EXECUTE FUNCTION control.state_renamed();
CREATE TRIGGER state_renamed AFTER UPDATE ON public.group_members FOR EACH ROW
    WHEN ((OLD.group_id, OLD.user_id, OLD.device_id, OLD.number)
          IS DISTINCT FROM (NEW.group_id, NEW.user_id, NEW.device_id, NEW.number))
    EXECUTE FUNCTION control.state_renamed();

CREATE FUNCTION control.release_expired() RETURNS TABLE (what text, released bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    spec record;
BEGIN
    what := 'blocks released';
    released := control.release_expired_blocks();
    RETURN NEXT;
    FOR spec IN
        SELECT * FROM (VALUES ('schedule_overrides', 'overrides ended'), ('user_states', 'do-not-disturbs ended'),
                              ('group_away', 'members back in their group')) AS s (tbl, said)
    LOOP
        what := spec.said;
        EXECUTE format('DELETE FROM public.%I WHERE until <= clock_timestamp()', spec.tbl);
        GET DIAGNOSTICS released = ROW_COUNT;
        RETURN NEXT;
    END LOOP;
END
$$;
COMMENT ON FUNCTION control.release_expired IS
    'Deletes what has an end that is over: blocks, overrides, do not disturb, members away; how many of each.';
GRANT EXECUTE ON FUNCTION control.release_expired TO dialplane_admin, dialplane_controller;
