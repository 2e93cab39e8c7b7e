-- What name servers read: schema dns, in the columns PowerDNS wants. One name is answered by dns.lookup(), which splits it
-- into labels and finds account and nodes by their unique names. dns.records lists whole zones, for transfers and files.

DO $$
BEGIN
    CREATE ROLE dialplane_dns NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        NULL;
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'the role dialplane_dns does not exist and % may not create roles', current_user
            USING HINT = 'Let a database administrator run: CREATE ROLE dialplane_dns NOLOGIN;',
                  ERRCODE = 'insufficient_privilege';
END
$$;

CREATE SCHEMA dns;
COMMENT ON SCHEMA dns IS 'What name servers read: answers made from the rows.';

CREATE TYPE dns.record AS (
    content text, ttl integer, prio integer, type text, domain_id integer, disabled integer, name text, auth integer
);
COMMENT ON TYPE dns.record IS
    'A record in the columns of PowerDNS. SRV: priority in prio, content is weight, port and target. Type null: the name '
    'exists because others stand below it.';

CREATE VIEW dns.zones WITH (security_barrier) AS
SELECT z.id, z.name,
    concat_ws(' ', s.primary_server, 'hostmaster.' || z.name, n.serial & 4294967295, s.refresh_s, s.refresh_s, 1209600,
              s.negative_ttl_s) AS soa
FROM control.name_settings AS s
CROSS JOIN control.name_serial AS n
CROSS JOIN LATERAL (VALUES (1, s.zone), (2, s.device_zone)) AS z (id, name);
COMMENT ON VIEW dns.zones IS 'Both zones.';
COMMENT ON COLUMN dns.zones.id IS '1: forwarding names; 2: device names.';
COMMENT ON COLUMN dns.zones.name IS 'Name of the zone.';
COMMENT ON COLUMN dns.zones.soa IS 'Its SOA record.';

-- Above 8 targets, accounts take different ones of equal weight, so that no node of a large cluster goes without calls:
-- order by md5 of the first two hex digits of the account's md5 (its lot) and the node's name.
CREATE FUNCTION dns.lookup(asked text) RETURNS SETOF dns.record
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 8 SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    s record;
    zone record;
    label text[];
    place record;
    found_any boolean := false;
BEGIN
    -- Names of ours have no other characters; in those that have, PowerDNS writes a backslash.
    IF length(asked) > 253 OR asked !~ '^[a-z0-9_.-]+$' THEN
        RETURN;
    END IF;
    SELECT * INTO s FROM control.name_settings;
    SELECT z.id, z.name INTO zone
    FROM (VALUES (1, s.zone), (2, s.device_zone)) AS z (id, name)
    WHERE asked = z.name OR right(asked, length(z.name) + 1) = '.' || z.name
    ORDER BY length(z.name) DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF asked = zone.name THEN
        RETURN QUERY SELECT z.soa, s.ttl_s, NULL::integer, 'SOA', z.id, 0, asked, 1 FROM dns.zones AS z WHERE z.id = zone.id;
        RETURN QUERY SELECT split_part(one, '/', 1), s.ttl_s, NULL::integer, 'NS', zone.id, 0, asked, 1
            FROM unnest(string_to_array(s.name_servers, ',')) AS one;
        RETURN;
    END IF;
    label := string_to_array(left(asked, -length(zone.name) - 1), '.');

    IF zone.id = 1 AND cardinality(label) = 4 AND label[1] = '_sip' AND label[2] = '_tcp' THEN
        SELECT coalesce(e.cluster_id, a.cluster_id) AS cluster,
            CASE WHEN e.id IS NULL THEN c.overflow_cluster_id ELSE e.overflow_cluster_id END AS overflow,
            left(md5(a.name), 2) AS lot
        INTO place
        FROM public.accounts AS a
        JOIN public.clusters AS c ON c.id = a.cluster_id
        LEFT JOIN public.account_services AS e ON e.account_id = a.id AND e.service = label[3]
        WHERE a.name = label[4] AND label[3] IN ('voice', 'voicemail', 'conference', 'queue', 'messaging', 'pstn', 'app');
        IF NOT FOUND THEN
            RETURN;
        END IF;
        RETURN QUERY
        WITH node AS (
            SELECT t.priority, n.name, n.sip_port, c.name AS cluster, takes.takes,
                bool_or(takes.takes) OVER tier AS some_take,
                CASE WHEN bool_or(takes.takes) OVER tier THEN greatest(1, round(n.weight * takes.share))
                     ELSE n.weight END::integer AS weight
            FROM (VALUES (10, place.cluster), (20, place.overflow)) AS t (priority, id)
            JOIN public.clusters AS c ON c.id = t.id
            JOIN public.nodes AS n ON n.cluster_id = c.id AND n.kind = 'media' AND n.state = 'enabled'
            JOIN control.takes_calls AS takes ON takes.node = n.name
            WINDOW tier AS (PARTITION BY t.priority)
        ), placed AS (
            SELECT *, row_number() OVER (PARTITION BY priority ORDER BY weight DESC, md5(place.lot || name)) AS place,
                count(*) FILTER (WHERE priority = 20) OVER () AS spare
            FROM node WHERE takes OR NOT some_take
        )
        SELECT concat_ws(' ', p.weight, p.sip_port, concat_ws('.', p.name, p.cluster, 'nodes', s.zone)),
            s.ttl_s, p.priority, 'SRV', zone.id, 0, asked, 1
        FROM placed AS p
        WHERE p.priority = 20 OR p.place <= 8 - least(2, p.spare)
        ORDER BY p.priority, p.place LIMIT 8;
        found_any := FOUND;
    ELSIF zone.id = 1 AND cardinality(label) = 3 AND label[3] = 'nodes' THEN
        RETURN QUERY
        SELECT host(n.address), s.ttl_s, NULL::integer, CASE family(n.address) WHEN 4 THEN 'A' ELSE 'AAAA' END,
            zone.id, 0, asked, 1
        FROM public.nodes AS n JOIN public.clusters AS c ON c.id = n.cluster_id
        WHERE n.name = label[1] AND c.name = label[2];
        found_any := FOUND;
    ELSIF zone.id = 2 AND cardinality(label) = 3
        AND label[1] || '.' || label[2] IN ('_sip._udp', '_sip._tcp', '_sips._tcp') THEN
        SELECT a.device_group_id AS device_group, left(md5(a.name), 2) AS lot INTO place
        FROM public.accounts AS a WHERE a.name = label[3];
        IF NOT FOUND THEN
            RETURN;
        END IF;
        RETURN QUERY
        SELECT concat_ws(' ', n.weight, CASE label[1] WHEN '_sips' THEN n.tls_port ELSE n.sip_port END,
                         concat_ws('.', n.name, 'edges', s.device_zone)),
            s.ttl_s, 10, 'SRV', zone.id, 0, asked, 1
        FROM public.nodes AS n
        WHERE n.kind = 'edge' AND n.state = 'enabled'
            AND (place.device_group IS NULL OR n.device_group_id = place.device_group)
            AND (label[1] = '_sip' OR n.tls_port IS NOT NULL)
        ORDER BY n.weight DESC, md5(place.lot || n.name) LIMIT 8;
        found_any := FOUND;
    ELSIF zone.id = 2 AND cardinality(label) = 2 AND label[2] = 'edges' THEN
        RETURN QUERY
        SELECT host(p.address), s.ttl_s, NULL::integer, CASE family(p.address) WHEN 4 THEN 'A' ELSE 'AAAA' END,
            zone.id, 0, asked, 1
        FROM public.nodes AS n CROSS JOIN LATERAL (SELECT coalesce(n.public_address, n.address) AS address) AS p
        WHERE n.name = label[1] AND n.kind = 'edge';
        found_any := FOUND;
    END IF;

    RETURN QUERY
    SELECT host(d.address::inet), s.ttl_s, NULL::integer, CASE family(d.address::inet) WHEN 4 THEN 'A' ELSE 'AAAA' END,
        zone.id, 0, asked, 1
    FROM unnest(string_to_array(s.name_servers, ',')) AS one
    CROSS JOIN LATERAL (SELECT nullif(split_part(one, '/', 2), '') AS address) AS d
    WHERE split_part(one, '/', 1) = asked AND d.address IS NOT NULL;
    IF found_any OR FOUND THEN
        RETURN;
    END IF;

    -- Nothing here, but below: then the name exists.
    IF (CASE
        WHEN zone.id = 1 AND label[cardinality(label)] = 'nodes' AND cardinality(label) < 3 THEN EXISTS (
            SELECT FROM public.nodes AS n JOIN public.clusters AS c ON c.id = n.cluster_id
            WHERE cardinality(label) = 1 OR c.name = label[1])
        WHEN zone.id = 2 AND label = '{edges}' THEN EXISTS (SELECT FROM public.nodes AS n WHERE n.kind = 'edge')
    END OR CASE
        WHEN zone.id = 1 THEN label[1:cardinality(label) - 1] IN ('{}', '{voice}', '{voicemail}', '{conference}', '{queue}',
                '{messaging}', '{pstn}', '{app}')
            OR (label[1:cardinality(label) - 2] IN ('{_tcp}', '{_sip,_tcp}') AND label[cardinality(label) - 1]
                IN ('voice', 'voicemail', 'conference', 'queue', 'messaging', 'pstn', 'app'))
        ELSE label[1:cardinality(label) - 1] IN ('{}', '{_udp}', '{_tcp}', '{_sip,_udp}', '{_sip,_tcp}', '{_sips,_tcp}')
    END AND EXISTS (SELECT FROM public.accounts AS a WHERE a.name = label[cardinality(label)])
    OR EXISTS (
        SELECT FROM unnest(string_to_array(concat_ws(',', s.zone, s.device_zone, s.name_servers), ',')) AS one
        WHERE right(split_part(one, '/', 1), length(asked) + 1) = '.' || asked
    )) THEN
        RETURN NEXT ROW (NULL, s.ttl_s, NULL, NULL, zone.id, 0, asked, 1)::dns.record;
    END IF;
END
$$;
COMMENT ON FUNCTION dns.lookup IS
    'All records of a name, as the rows and live conditions say; nothing: there is no such name. The account''s cluster '
    'first (priority 10), then its overflow (20), at most 8 targets; where no node of a cluster takes calls, all its '
    'enabled ones.';

CREATE VIEW dns.records WITH (security_barrier) AS
SELECT z.soa AS content, s.ttl_s AS ttl, NULL::integer AS prio, 'SOA'::text AS type, z.id AS domain_id,
    0 AS disabled, z.name, 1 AS auth
FROM dns.zones AS z CROSS JOIN control.name_settings AS s
UNION ALL
SELECT split_part(one, '/', 1), s.ttl_s, NULL, 'NS', z.id, 0, z.name, 1
FROM dns.zones AS z CROSS JOIN control.name_settings AS s
CROSS JOIN LATERAL unnest(string_to_array(s.name_servers, ',')) AS one
UNION ALL
-- A zone that lies in the other is delegated there, to the same servers.
SELECT split_part(one, '/', 1), s.ttl_s, NULL, 'NS', z.id, 0, inner_zone.name, 0
FROM dns.zones AS z CROSS JOIN control.name_settings AS s
JOIN dns.zones AS inner_zone ON right(inner_zone.name, length(z.name) + 1) = '.' || z.name
CROSS JOIN LATERAL unnest(string_to_array(s.name_servers, ',')) AS one
UNION ALL
SELECT host(d.address::inet), s.ttl_s, NULL, CASE family(d.address::inet) WHEN 4 THEN 'A' ELSE 'AAAA' END, z.id, 0,
    split_part(one, '/', 1), 1
FROM dns.zones AS z CROSS JOIN control.name_settings AS s
CROSS JOIN LATERAL unnest(string_to_array(s.name_servers, ',')) AS one
CROSS JOIN LATERAL (SELECT nullif(split_part(one, '/', 2), '') AS address) AS d
WHERE d.address IS NOT NULL AND right(split_part(one, '/', 1), length(z.name) + 1) = '.' || z.name
UNION ALL
SELECT host(n.address), s.ttl_s, NULL, CASE family(n.address) WHEN 4 THEN 'A' ELSE 'AAAA' END, 1, 0,
    concat_ws('.', n.name, c.name, 'nodes', s.zone), 1
FROM public.nodes AS n JOIN public.clusters AS c ON c.id = n.cluster_id CROSS JOIN control.name_settings AS s
UNION ALL
SELECT host(p.address), s.ttl_s, NULL, CASE family(p.address) WHEN 4 THEN 'A' ELSE 'AAAA' END, 2, 0,
    concat_ws('.', n.name, 'edges', s.device_zone), 1
FROM public.nodes AS n CROSS JOIN control.name_settings AS s
CROSS JOIN LATERAL (SELECT coalesce(n.public_address, n.address) AS address) AS p
WHERE n.kind = 'edge'
UNION ALL
SELECT concat_ws(' ', t.weight, t.sip_port, concat_ws('.', t.name, t.cluster, 'nodes', s.zone)),
    s.ttl_s, t.priority, 'SRV', 1, 0, concat_ws('.', '_sip._tcp', v.service, a.name, s.zone), 1
FROM public.accounts AS a
JOIN public.clusters AS c ON c.id = a.cluster_id
CROSS JOIN control.name_settings AS s
CROSS JOIN unnest('{voice,voicemail,conference,queue,messaging,pstn,app}'::text[]) AS v (service)
LEFT JOIN public.account_services AS e ON e.account_id = a.id AND e.service = v.service
JOIN (
    -- What a pair of cluster and overflow answers to each lot.
    SELECT * FROM (
        SELECT pair.cluster_id, pair.overflow_id, lot.lot, tier.priority, n.name, n.sip_port, n.weight, c.name AS cluster,
            row_number() OVER (PARTITION BY pair.cluster_id, pair.overflow_id, lot.lot, tier.priority
                               ORDER BY n.weight DESC, md5(lot.lot || n.name)) AS place,
            least(2, count(*) FILTER (WHERE tier.priority = 20)
                     OVER (PARTITION BY pair.cluster_id, pair.overflow_id, lot.lot)) AS spare,
            count(*) FILTER (WHERE tier.priority = 10)
                     OVER (PARTITION BY pair.cluster_id, pair.overflow_id, lot.lot) AS own
        FROM (
            SELECT id AS cluster_id, coalesce(overflow_cluster_id, 0) AS overflow_id FROM public.clusters
            UNION
            SELECT cluster_id, coalesce(overflow_cluster_id, 0) FROM public.account_services
        ) AS pair
        CROSS JOIN (SELECT lpad(to_hex(number), 2, '0') AS lot FROM generate_series(0, 255) AS number) AS lot
        CROSS JOIN LATERAL (VALUES (10, pair.cluster_id), (20, pair.overflow_id)) AS tier (priority, id)
        JOIN public.clusters AS c ON c.id = tier.id
        JOIN public.nodes AS n ON n.cluster_id = c.id AND n.kind = 'media' AND n.state = 'enabled'
    ) AS placed
    WHERE place <= CASE priority WHEN 10 THEN 8 - spare ELSE 8 - least(own, 8 - spare) END
) AS t
    ON t.cluster_id = coalesce(e.cluster_id, a.cluster_id)
    AND t.overflow_id = coalesce(CASE WHEN e.id IS NULL THEN c.overflow_cluster_id ELSE e.overflow_cluster_id END, 0)
    AND t.lot = left(md5(a.name), 2)
UNION ALL
SELECT concat_ws(' ', n.weight, CASE p.prefix WHEN '_sips._tcp' THEN n.tls_port ELSE n.sip_port END,
                 concat_ws('.', n.name, 'edges', s.device_zone)),
    s.ttl_s, 10, 'SRV', 2, 0, concat_ws('.', p.prefix, a.name, s.device_zone), 1
FROM public.accounts AS a
CROSS JOIN control.name_settings AS s
CROSS JOIN unnest('{_sip._udp,_sip._tcp,_sips._tcp}'::text[]) AS p (prefix)
JOIN (
    SELECT groups.device_group, groups.secure, lot.lot, n.*,
        row_number() OVER (PARTITION BY groups.device_group, groups.secure, lot.lot
                           ORDER BY n.weight DESC, md5(lot.lot || n.name)) AS place
    FROM (
        SELECT device_group, secure
        FROM (SELECT id AS device_group FROM public.device_groups UNION ALL SELECT 0) AS g
        CROSS JOIN (VALUES (false), (true)) AS v (secure)
    ) AS groups
    CROSS JOIN (SELECT lpad(to_hex(number), 2, '0') AS lot FROM generate_series(0, 255) AS number) AS lot
    JOIN public.nodes AS n
        ON n.kind = 'edge' AND n.state = 'enabled' AND groups.device_group IN (0, n.device_group_id)
        AND (NOT groups.secure OR n.tls_port IS NOT NULL)
) AS n
    ON n.device_group = coalesce(a.device_group_id, 0) AND n.secure = (p.prefix = '_sips._tcp')
    AND n.lot = left(md5(a.name), 2) AND n.place <= 8;
COMMENT ON VIEW dns.records IS
    'Every record of both zones as the rows say, without live conditions: what is transferred or written to a file is '
    'answered later, when nobody knows them.';
COMMENT ON COLUMN dns.records.content IS 'What the record says.';
COMMENT ON COLUMN dns.records.ttl IS 'How long it is kept, in seconds.';
COMMENT ON COLUMN dns.records.prio IS 'Priority of an SRV record.';
COMMENT ON COLUMN dns.records.type IS 'SOA, NS, A, AAAA or SRV.';
COMMENT ON COLUMN dns.records.domain_id IS 'Zone: 1 forwarding names, 2 device names.';
COMMENT ON COLUMN dns.records.disabled IS '0.';
COMMENT ON COLUMN dns.records.name IS 'Name of the record.';
COMMENT ON COLUMN dns.records.auth IS '1; 0 where it delegates.';

CREATE FUNCTION dns.read_only() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'names are made from the rows: nothing is written here'
        USING ERRCODE = 'read_only_sql_transaction', HINT = 'Change accounts, nodes, clusters or settings.';
END
$$;
COMMENT ON FUNCTION dns.read_only IS 'What a name server is told that would write.';

REVOKE ALL ON FUNCTION dns.lookup, dns.read_only FROM PUBLIC;
GRANT USAGE ON SCHEMA dns TO dialplane_dns, dialplane_admin, dialplane_controller, dialplane_reader;
GRANT SELECT ON dns.zones, dns.records TO dialplane_dns, dialplane_admin, dialplane_controller, dialplane_reader;
GRANT EXECUTE ON FUNCTION dns.read_only TO dialplane_dns;
GRANT EXECUTE ON FUNCTION dns.lookup TO dialplane_dns, dialplane_admin, dialplane_controller, dialplane_reader;

CALL control.explain_refusals();
