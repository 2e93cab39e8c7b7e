-- Which devices are registered where, as the agents of the edges tell it. No call depends on it.

CREATE TABLE control.registrations (
    aor text COLLATE "C" NOT NULL,
    edge text NOT NULL,
    contacts int NOT NULL,
    since timestamptz NOT NULL,
    user_agent text,
    CONSTRAINT registrations_pkey PRIMARY KEY (aor, edge)
);
COMMENT ON TABLE control.registrations IS
    'Contacts of devices at edges, as last told: read control.registered, which knows whether that still holds.';
COMMENT ON COLUMN control.registrations.aor IS 'Address of record of the device: name@domain.';
COMMENT ON COLUMN control.registrations.edge IS 'Edge where it is, or was, registered.';
COMMENT ON COLUMN control.registrations.contacts IS 'How many contacts it has there; 0: registered no more.';
COMMENT ON COLUMN control.registrations.since IS
    'Since when it is registered, or is not; after a time without its agent: since when that is known.';
COMMENT ON COLUMN control.registrations.user_agent IS 'What the newest contact calls itself, or the last one did.';

CREATE TABLE control.registrars (
    edge text NOT NULL CONSTRAINT registrars_pkey PRIMARY KEY,
    compared_at timestamptz
);
COMMENT ON TABLE control.registrars IS 'Whether what control.registrations says of an edge was compared with it.';
COMMENT ON COLUMN control.registrars.edge IS 'Name of the edge.';
COMMENT ON COLUMN control.registrars.compared_at IS
    'End of the last comparison of all contacts; null: the agent, or its edge, was away and none has ended since.';

CREATE VIEW control.registrars_known AS
SELECT r.edge, r.compared_at,
       coalesce(r.compared_at >= s.agent_started
                AND s.heard_at > clock_timestamp() - interval '10 seconds', false) AS known
FROM control.registrars AS r LEFT JOIN control.node_state AS s ON s.node = r.edge;
COMMENT ON VIEW control.registrars_known IS
    'Edges, and whether it is known who is registered there: its agent reports, and has compared since it started.';

CREATE VIEW control.registered AS
SELECT r.aor, r.edge,
       CASE WHEN NOT coalesce(k.known, false) THEN 'unknown'
            WHEN r.contacts > 0 THEN 'registered' ELSE 'unregistered' END AS state,
       CASE WHEN k.known THEN r.contacts END AS contacts,
       r.since, r.user_agent
FROM control.registrations AS r LEFT JOIN control.registrars_known AS k ON k.edge = r.edge;
COMMENT ON VIEW control.registered IS
    'Devices at edges: registered, unregistered, or unknown (contacts null) while nobody reports of that edge. '
    'A device without a row was never seen.';

CREATE FUNCTION control.tell_registration() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('dialplane_registration', NEW.aor);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.tell_registration() IS
    'Channel dialplane_registration: address of record whose number of contacts changed.';
CREATE TRIGGER tell_insert AFTER INSERT ON control.registrations
    FOR EACH ROW EXECUTE FUNCTION control.tell_registration();
CREATE TRIGGER tell_update AFTER UPDATE ON control.registrations
    FOR EACH ROW WHEN (OLD.contacts <> NEW.contacts) EXECUTE FUNCTION control.tell_registration();

GRANT SELECT ON control.registrations, control.registrars, control.registrars_known, control.registered
    TO dialplane_admin, dialplane_controller, dialplane_agent, dialplane_reader;
GRANT INSERT, UPDATE, DELETE ON control.registrations TO dialplane_agent;
GRANT INSERT, UPDATE ON control.registrars TO dialplane_agent;

COMMENT ON COLUMN control.registrars_known.edge IS 'Name of the edge.';
COMMENT ON COLUMN control.registrars_known.compared_at IS 'End of the last comparison of all contacts.';
COMMENT ON COLUMN control.registrars_known.known IS 'True: what control.registrations says of the edge holds.';
COMMENT ON COLUMN control.registered.aor IS 'Address of record of the device: name@domain.';
COMMENT ON COLUMN control.registered.edge IS 'Edge where it is, or was, registered.';
COMMENT ON COLUMN control.registered.state IS 'registered, unregistered, or unknown.';
COMMENT ON COLUMN control.registered.contacts IS 'How many contacts it has there; null: unknown.';
COMMENT ON COLUMN control.registered.since IS 'Since when that is so, or is known.';
COMMENT ON COLUMN control.registered.user_agent IS 'What the newest contact calls itself, or the last one did.';
