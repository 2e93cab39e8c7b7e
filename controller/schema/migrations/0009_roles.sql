-- Who may do what. Log in with a role of your own that is a member of one of these.

REVOKE CREATE ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION public.set_device_password, public.set_trunk_password, public.set_mailbox_pin FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA control REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

GRANT USAGE ON SCHEMA public, control TO dialplane_admin, dialplane_controller, dialplane_agent, dialplane_reader;

-- People who edit rows. What dialplane writes they read; triggers write it for them.
GRANT SELECT ON ALL TABLES IN SCHEMA public, control TO dialplane_admin;
GRANT INSERT, UPDATE, DELETE ON
    public.settings, public.clusters, public.device_groups, public.nodes, public.accounts, public.domains,
    public.users, public.devices, public.extensions, public.numbers, public.voicemail_boxes, public.trunks,
    public.trunk_addresses, public.routes, public.emergency_numbers, public.emergency_routes, public.blocks
    TO dialplane_admin;
GRANT EXECUTE ON FUNCTION
    public.set_device_password, public.set_trunk_password, public.set_mailbox_pin,
    control.check_password, control.sha1, control.check_extension, control.check_trunk,
    control.release_expired_blocks
    TO dialplane_admin;

-- The controller publishes revisions, drains nodes and sets blocks.
GRANT SELECT ON ALL TABLES IN SCHEMA public, control TO dialplane_controller;
GRANT UPDATE (state, weight) ON public.nodes TO dialplane_controller;
GRANT INSERT, UPDATE, DELETE ON public.blocks TO dialplane_controller;
GRANT INSERT ON control.revisions, control.changes TO dialplane_controller;
GRANT INSERT, UPDATE, DELETE ON control.entries, control.change_cursor TO dialplane_controller;
GRANT INSERT, UPDATE ON control.call_records TO dialplane_controller;
GRANT DELETE ON control.node_state TO dialplane_controller;
GRANT EXECUTE ON FUNCTION
    control.publish_operational(jsonb, text), control.publish_operational(text, text, text, text, text),
    control.release_expired_blocks, control.actor, control.revision_digest
    TO dialplane_controller;

-- The agent beside a server: what its node must hold, and what it has to report.
GRANT SELECT ON control.entries, control.changes, control.revisions, public.nodes, public.clusters,
    public.device_groups TO dialplane_agent;
GRANT SELECT, INSERT, UPDATE ON control.node_state, control.call_records TO dialplane_agent;
GRANT SELECT, INSERT ON control.call_events TO dialplane_agent;

-- Reports and monitoring, without the digests.
GRANT SELECT ON
    public.settings, public.clusters, public.device_groups, public.nodes, public.accounts, public.domains,
    public.users, public.extensions, public.numbers, public.trunk_addresses, public.routes,
    public.emergency_numbers, public.emergency_routes, public.blocks, public.countries
    TO dialplane_reader;
GRANT SELECT (id, account_id, domain_id, user_id, name, call_limit, caller_id, enabled)
    ON public.devices TO dialplane_reader;
GRANT SELECT (id, account_id, mailbox, user_id, display_name, email, language)
    ON public.voicemail_boxes TO dialplane_reader;
GRANT SELECT (id, account_id, name, host, port, transport, auth_user, auth_realm, register, call_limit,
              number_format, caller_id, enabled)
    ON public.trunks TO dialplane_reader;
GRANT SELECT ON control.change_log, control.pending_changes, control.audit, control.revisions, control.node_state,
    control.change_cursor, control.call_events, control.call_records TO dialplane_reader;
