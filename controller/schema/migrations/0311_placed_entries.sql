-- Who holds what of an account: the media nodes of its cluster, of the clusters that serve some of its services, and
-- those that take over for one of these.

CREATE FUNCTION control.node_group(name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE n.kind
        WHEN 'edge' THEN (SELECT g.name FROM public.device_groups AS g WHERE g.id = n.device_group_id)
        ELSE (
            SELECT string_agg(c.name, '+' ORDER BY c.id <> n.cluster_id, c.name COLLATE "C")
            FROM public.clusters AS c WHERE n.cluster_id IN (c.id, c.overflow_cluster_id)
        )
    END
    FROM public.nodes AS n WHERE n.name = node_group.name
$$;
COMMENT ON FUNCTION control.node_group IS
    'Whose entries a node holds: its device group, or its cluster and those its cluster takes over for, joined with +.';
GRANT EXECUTE ON FUNCTION control.node_group TO dialplane_agent, dialplane_admin, dialplane_controller;

CREATE FUNCTION control.account_clusters(account bigint) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.name FROM public.clusters AS c WHERE c.id IN (
        SELECT a.cluster_id FROM public.accounts AS a WHERE a.id = account
        UNION SELECT s.cluster_id FROM public.account_services AS s WHERE s.account_id = account
        UNION SELECT s.overflow_cluster_id FROM public.account_services AS s WHERE s.account_id = account
    )
$$;
COMMENT ON FUNCTION control.account_clusters IS
    'Clusters whose media nodes hold an account: its own, and those of services that stand apart.';

CREATE OR REPLACE FUNCTION control.state_flag(account bigint, family text, name text, value text) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_agg(jsonb_build_object(
        'kind', 'media', 'scope', c.name, 'tbl', 'flag', 'key', concat_ws('/', family, a.name, state_flag.name),
        'value', value, 'account', a.name
    ))
    FROM public.accounts AS a CROSS JOIN LATERAL control.account_clusters(a.id) AS c (name)
    WHERE a.id = account
$$;

CREATE FUNCTION control.services_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    touched bigint[];
BEGIN
    touched := CASE TG_OP WHEN 'INSERT' THEN ARRAY[NEW.account_id] WHEN 'DELETE' THEN ARRAY[OLD.account_id]
                          ELSE ARRAY[OLD.account_id, NEW.account_id] END;
    -- An update without rows would take the publishers' lock all the same.
    IF EXISTS (SELECT FROM public.schedule_overrides WHERE account_id = ANY (touched)) THEN
        UPDATE public.schedule_overrides SET published = DEFAULT WHERE account_id = ANY (touched);
    END IF;
    IF EXISTS (SELECT FROM public.user_states WHERE account_id = ANY (touched)) THEN
        UPDATE public.user_states SET published = DEFAULT WHERE account_id = ANY (touched);
    END IF;
    IF EXISTS (SELECT FROM public.group_away WHERE account_id = ANY (touched)) THEN
        UPDATE public.group_away SET published = DEFAULT WHERE account_id = ANY (touched);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.services_changed IS 'States of an account follow it to the clusters that serve it.';
CREATE TRIGGER services_changed AFTER INSERT OR UPDATE OR DELETE ON public.account_services
    FOR EACH ROW EXECUTE FUNCTION control.services_changed();

CREATE FUNCTION control.tell_groups() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Agents look again at once whose entries they hold: they have them before edges send calls.
    PERFORM pg_notify('dialplane_revision', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.tell_groups IS 'A cluster takes over for another one, or no more: agents hear of it.';
CREATE TRIGGER tell_groups AFTER UPDATE ON public.clusters FOR EACH ROW
    WHEN (OLD.overflow_cluster_id IS DISTINCT FROM NEW.overflow_cluster_id) EXECUTE FUNCTION control.tell_groups();

CREATE OR REPLACE VIEW control.takes_calls AS
SELECT n.name AS node, coalesce(c.takes, false) AS takes,
    CASE WHEN c.node IS NULL THEN 'its agent never reported' ELSE nullif(c.why, '') END AS why,
    coalesce(c.share_tenths, 10) / 10.0 AS share
FROM public.nodes AS n LEFT JOIN control.node_condition AS c ON c.node = n.name
WHERE n.kind = 'media';
COMMENT ON VIEW control.takes_calls IS 'Whether a media node takes new calls now (control.node_condition).';
