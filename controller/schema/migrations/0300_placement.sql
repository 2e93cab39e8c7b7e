-- Where an account is served: its cluster and that cluster's overflow, exceptions for single services, and the device
-- group its phones sign in at. What phones are told of an edge.

ALTER TABLE public.clusters
    ADD COLUMN overflow_cluster_id bigint
        CONSTRAINT clusters_overflow_fkey REFERENCES public.clusters,
    ADD CONSTRAINT clusters_overflow CHECK (overflow_cluster_id <> id);
CREATE INDEX clusters_overflow_cluster ON public.clusters (overflow_cluster_id) WHERE overflow_cluster_id IS NOT NULL;
COMMENT ON COLUMN public.clusters.overflow_cluster_id IS
    'Cluster that takes calls of the accounts served here when this one cannot; null: none.';
COMMENT ON CONSTRAINT clusters_overflow ON public.clusters IS 'name another cluster, or none';

ALTER TABLE public.accounts
    ADD COLUMN device_group_id bigint CONSTRAINT accounts_device_group_fkey REFERENCES public.device_groups;
CREATE INDEX accounts_device_group ON public.accounts (device_group_id) WHERE device_group_id IS NOT NULL;
COMMENT ON COLUMN public.accounts.device_group_id IS
    'Device group whose edges its phones are told to sign in at; null: every edge serves it.';

ALTER TABLE public.nodes
    ADD COLUMN public_address public.host_address,
    ADD COLUMN tls_port public.port,
    ADD CONSTRAINT nodes_phones CHECK (kind = 'edge' OR (public_address IS NULL AND tls_port IS NULL)),
    ADD CONSTRAINT nodes_tls_port CHECK (tls_port <> sip_port);
COMMENT ON COLUMN public.nodes.public_address IS 'Address of an edge that phones are told; null: address.';
COMMENT ON COLUMN public.nodes.tls_port IS 'Port on which an edge listens for SIP over TLS; null: no TLS.';
COMMENT ON CONSTRAINT nodes_phones ON public.nodes IS
    'phones talk to edges only: clear public_address and tls_port of a media node';
COMMENT ON CONSTRAINT nodes_tls_port ON public.nodes IS 'take a port other than sip_port';

CREATE TABLE public.account_services (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT account_services_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT account_services_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    service text NOT NULL CONSTRAINT account_services_service CHECK (
        service IN ('voice', 'voicemail', 'conference', 'queue', 'messaging', 'pstn', 'app')
    ),
    cluster_id bigint NOT NULL CONSTRAINT account_services_cluster_fkey REFERENCES public.clusters,
    overflow_cluster_id bigint CONSTRAINT account_services_overflow_fkey REFERENCES public.clusters,
    CONSTRAINT account_services_key UNIQUE (account_id, service),
    CONSTRAINT account_services_overflow CHECK (overflow_cluster_id <> cluster_id)
);
CREATE INDEX account_services_cluster ON public.account_services (cluster_id);
CREATE INDEX account_services_overflow_cluster ON public.account_services (overflow_cluster_id)
    WHERE overflow_cluster_id IS NOT NULL;
COMMENT ON TABLE public.account_services IS
    'Services of an account that another cluster than the account''s own serves. Without a row the account''s cluster and '
    'its overflow hold.';
COMMENT ON COLUMN public.account_services.id IS 'Number of the row.';
COMMENT ON COLUMN public.account_services.account_id IS 'Account it is about.';
COMMENT ON COLUMN public.account_services.service IS
    'voice, voicemail, conference, queue, messaging, pstn or app.';
COMMENT ON COLUMN public.account_services.cluster_id IS 'Cluster that serves it.';
COMMENT ON COLUMN public.account_services.overflow_cluster_id IS
    'Cluster that takes over when that one cannot; null: none.';
COMMENT ON CONSTRAINT account_services_service ON public.account_services IS
    'choose voice, voicemail, conference, queue, messaging, pstn or app';
COMMENT ON CONSTRAINT account_services_overflow ON public.account_services IS
    'name another cluster than the one that serves it, or none';

DO $$
DECLARE
    log constant text := 'FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(''a.name || ''''/'''' || r.service'', '
        '''a.name'', ''LEFT JOIN public.accounts AS a ON a.id = r.account_id'', ''(a.id IS NULL)'', '
        '''configuration'', ''{}'', '''')';
BEGIN
    EXECUTE 'CREATE TRIGGER log_insert AFTER INSERT ON public.account_services REFERENCING NEW TABLE AS new_rows ' || log;
    EXECUTE 'CREATE TRIGGER log_update AFTER UPDATE ON public.account_services '
        'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ' || log;
    EXECUTE 'CREATE TRIGGER log_delete AFTER DELETE ON public.account_services REFERENCING OLD TABLE AS old_rows ' || log;
END
$$;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.account_services
    FOR EACH STATEMENT EXECUTE FUNCTION control.refuse_truncate();
GRANT SELECT ON public.account_services TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT INSERT, UPDATE, DELETE ON public.account_services TO dialplane_admin;

CREATE VIEW control.assignments AS
SELECT a.name AS account, s.service,
    CASE WHEN e.id IS NULL THEN own.name ELSE other.name END AS cluster,
    CASE WHEN e.id IS NULL THEN own_overflow.name ELSE other_overflow.name END AS overflow
FROM public.accounts AS a
CROSS JOIN unnest('{voice,voicemail,conference,queue,messaging,pstn,app}'::text[]) AS s (service)
JOIN public.clusters AS own ON own.id = a.cluster_id
LEFT JOIN public.clusters AS own_overflow ON own_overflow.id = own.overflow_cluster_id
LEFT JOIN public.account_services AS e ON e.account_id = a.id AND e.service = s.service
LEFT JOIN public.clusters AS other ON other.id = e.cluster_id
LEFT JOIN public.clusters AS other_overflow ON other_overflow.id = e.overflow_cluster_id;
COMMENT ON VIEW control.assignments IS 'Which cluster serves each service of each account, and which takes over.';
COMMENT ON COLUMN control.assignments.account IS 'Name of the account.';
COMMENT ON COLUMN control.assignments.service IS 'voice, voicemail, conference, queue, messaging, pstn or app.';
COMMENT ON COLUMN control.assignments.cluster IS 'Cluster that serves it.';
COMMENT ON COLUMN control.assignments.overflow IS 'Cluster that takes over when that one cannot; null: none.';

CREATE VIEW control.takes_calls AS
SELECT n.name AS node, w.why IS NULL AS takes, w.why, 1.0::numeric AS share
FROM public.nodes AS n
LEFT JOIN control.node_state AS s ON s.node = n.name
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN n.state <> 'enabled' THEN n.state
        WHEN s.heard_at IS NULL THEN 'never heard of'
        WHEN s.heard_at < clock_timestamp() - interval '3 seconds' THEN 'not heard of for '
            || least(extract(epoch FROM clock_timestamp() - s.heard_at)::bigint, 999999) || ' s'
    END AS why
) AS w
WHERE n.kind = 'media';
COMMENT ON VIEW control.takes_calls IS
    'Whether a media node takes new calls now: it is enabled, and its agent was heard of within 3 s.';
COMMENT ON COLUMN control.takes_calls.node IS 'Name of the media node.';
COMMENT ON COLUMN control.takes_calls.takes IS 'Whether it takes new calls.';
COMMENT ON COLUMN control.takes_calls.why IS 'Why it does not; null: it does.';
COMMENT ON COLUMN control.takes_calls.share IS 'What of its weight holds now, 0 to 1.';
GRANT SELECT ON control.assignments, control.takes_calls TO dialplane_admin, dialplane_controller, dialplane_reader;

CALL control.explain_refusals();
