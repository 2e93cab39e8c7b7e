-- The tables that people edit. Every row has a number of its own (id) and a name people use.

CREATE TABLE public.settings (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT settings_id_key UNIQUE,
    name text CONSTRAINT settings_pkey PRIMARY KEY
        CONSTRAINT settings_name_form CHECK (name ~ '^[a-z][a-z0-9_]{0,31}$'),
    value text NOT NULL,
    CONSTRAINT settings_value_form CHECK (value ~ '^[A-Za-z0-9_.:/@+*-]{1,128}$'),
    CONSTRAINT settings_zone CHECK (
        name <> 'zone'
        OR value ~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'
    )
);
COMMENT ON TABLE public.settings IS 'Settings of the whole installation.';
COMMENT ON COLUMN public.settings.id IS 'Number of the row.';
COMMENT ON COLUMN public.settings.name IS 'Name of the setting. zone: internal DNS zone between edges and media nodes.';
COMMENT ON COLUMN public.settings.value IS 'Its value, 1 to 128 characters without spaces.';

CREATE TABLE public.clusters (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT clusters_pkey PRIMARY KEY,
    name public.slug NOT NULL CONSTRAINT clusters_name_key UNIQUE
);
COMMENT ON TABLE public.clusters IS 'Clusters: media nodes that serve the same accounts.';
COMMENT ON COLUMN public.clusters.id IS 'Number of the row.';
COMMENT ON COLUMN public.clusters.name IS 'Name of the cluster.';

CREATE TABLE public.device_groups (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT device_groups_pkey PRIMARY KEY,
    name public.slug NOT NULL CONSTRAINT device_groups_name_key UNIQUE
);
COMMENT ON TABLE public.device_groups IS 'Device groups: edges that serve the same devices.';
COMMENT ON COLUMN public.device_groups.id IS 'Number of the row.';
COMMENT ON COLUMN public.device_groups.name IS 'Name of the device group.';

CREATE TABLE public.nodes (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT nodes_pkey PRIMARY KEY,
    name public.slug NOT NULL CONSTRAINT nodes_name_key UNIQUE,
    kind text NOT NULL CONSTRAINT nodes_kind CHECK (kind IN ('edge', 'media')),
    cluster_id bigint CONSTRAINT nodes_cluster_fkey REFERENCES public.clusters,
    device_group_id bigint CONSTRAINT nodes_device_group_fkey REFERENCES public.device_groups,
    address public.host_address NOT NULL,
    sip_port public.port NOT NULL DEFAULT 5060,
    weight public.weight NOT NULL DEFAULT 10,
    state text NOT NULL DEFAULT 'enabled'
        CONSTRAINT nodes_state CHECK (state IN ('enabled', 'draining', 'disabled')),
    CONSTRAINT nodes_address_key UNIQUE (address, sip_port),
    CONSTRAINT nodes_group CHECK (
        (kind = 'media' AND cluster_id IS NOT NULL AND device_group_id IS NULL)
        OR (kind = 'edge' AND cluster_id IS NULL AND device_group_id IS NOT NULL)
    )
);
CREATE UNIQUE INDEX nodes_media_address_key ON public.nodes (address) WHERE kind = 'media';
CREATE INDEX nodes_cluster ON public.nodes (cluster_id);
CREATE INDEX nodes_device_group ON public.nodes (device_group_id);
COMMENT ON TABLE public.nodes IS 'Servers: an edge runs Kamailio, a media node Asterisk.';
COMMENT ON COLUMN public.nodes.id IS 'Number of the row.';
COMMENT ON COLUMN public.nodes.name IS 'Name of the node; its agent reports under it.';
COMMENT ON COLUMN public.nodes.kind IS 'edge or media.';
COMMENT ON COLUMN public.nodes.cluster_id IS 'Cluster of a media node; null for an edge.';
COMMENT ON COLUMN public.nodes.device_group_id IS 'Device group of an edge; null for a media node.';
COMMENT ON COLUMN public.nodes.address IS 'Address the other nodes send SIP to, and see SIP come from.';
COMMENT ON COLUMN public.nodes.sip_port IS 'TCP port for SIP between edges and media nodes.';
COMMENT ON COLUMN public.nodes.weight IS 'Share of new calls among the media nodes of the cluster. Live at commit.';
COMMENT ON COLUMN public.nodes.state IS
    'enabled; draining: no new calls, the present ones go on; disabled: out of service. Live at commit.';

CREATE TABLE public.accounts (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT accounts_pkey PRIMARY KEY,
    name public.slug NOT NULL CONSTRAINT accounts_name_key UNIQUE,
    display_name public.label NOT NULL,
    cluster_id bigint NOT NULL CONSTRAINT accounts_cluster_fkey REFERENCES public.clusters,
    country public.country NOT NULL CONSTRAINT accounts_country_fkey REFERENCES public.countries,
    language public.language NOT NULL DEFAULT 'en',
    status text NOT NULL DEFAULT 'active'
        CONSTRAINT accounts_status CHECK (status IN ('active', 'suspended')),
    call_limit public.call_limit,
    caller_id public.e164
);
CREATE INDEX accounts_cluster ON public.accounts (cluster_id);
CREATE INDEX accounts_country ON public.accounts (country);
COMMENT ON TABLE public.accounts IS 'Accounts: customers. Deleting one deletes everything it owns.';
COMMENT ON COLUMN public.accounts.id IS 'Number of the row.';
COMMENT ON COLUMN public.accounts.name IS 'Name of the account in names of servers, in files and on the command line.';
COMMENT ON COLUMN public.accounts.display_name IS 'Name of the account for people.';
COMMENT ON COLUMN public.accounts.cluster_id IS 'Cluster that serves the account.';
COMMENT ON COLUMN public.accounts.country IS 'Country whose dialling rules and emergency numbers apply.';
COMMENT ON COLUMN public.accounts.language IS 'Language of announcements where nothing closer says another.';
COMMENT ON COLUMN public.accounts.status IS 'active; suspended: only emergency calls.';
COMMENT ON COLUMN public.accounts.call_limit IS 'Calls of the account at the same time; null: no limit.';
COMMENT ON COLUMN public.accounts.caller_id IS 'Number shown to outside parties where nothing closer says another.';

CREATE TABLE public.domains (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT domains_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT domains_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    name public.dns_name NOT NULL CONSTRAINT domains_name_key UNIQUE,
    CONSTRAINT domains_account_id_key UNIQUE (account_id, id)
);
COMMENT ON TABLE public.domains IS 'SIP domains of accounts.';
COMMENT ON COLUMN public.domains.id IS 'Number of the row.';
COMMENT ON COLUMN public.domains.account_id IS 'Account the domain belongs to.';
COMMENT ON COLUMN public.domains.name IS 'The domain: right side of addresses of record, and digest realm.';

CREATE TABLE public.users (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT users_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT users_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    name public.sip_user NOT NULL,
    display_name public.label NOT NULL,
    language public.language,
    caller_id public.e164,
    permission text NOT NULL DEFAULT 'national'
        CONSTRAINT users_permission CHECK (permission IN ('internal', 'national', 'international')),
    enabled boolean NOT NULL DEFAULT true,
    CONSTRAINT users_name_key UNIQUE (account_id, name),
    CONSTRAINT users_account_id_key UNIQUE (account_id, id)
);
COMMENT ON TABLE public.users IS 'Users: persons or rooms of an account.';
COMMENT ON COLUMN public.users.id IS 'Number of the row.';
COMMENT ON COLUMN public.users.account_id IS 'Account the user belongs to.';
COMMENT ON COLUMN public.users.name IS 'Name of the user, unique in the account.';
COMMENT ON COLUMN public.users.display_name IS 'Name shown on phones.';
COMMENT ON COLUMN public.users.language IS 'Language of announcements; null: as the account.';
COMMENT ON COLUMN public.users.caller_id IS 'Number shown to outside parties; null: as the account.';
COMMENT ON COLUMN public.users.permission IS 'Farthest class of number the user may dial: internal, national, international.';
COMMENT ON COLUMN public.users.enabled IS 'False: the devices of the user neither call nor ring.';

CREATE TABLE public.devices (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT devices_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT devices_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    domain_id bigint NOT NULL,
    user_id bigint,
    name public.sip_user NOT NULL,
    ha1_md5 public.ha1_md5 NOT NULL,
    ha1_sha256 public.ha1_sha256 NOT NULL,
    call_limit public.call_limit,
    caller_id public.e164,
    enabled boolean NOT NULL DEFAULT true,
    CONSTRAINT devices_name_key UNIQUE (domain_id, name),
    CONSTRAINT devices_domain_fkey FOREIGN KEY (account_id, domain_id)
        REFERENCES public.domains (account_id, id),
    CONSTRAINT devices_user_fkey FOREIGN KEY (account_id, user_id)
        REFERENCES public.users (account_id, id) ON DELETE SET NULL (user_id)
);
CREATE INDEX devices_account ON public.devices (account_id);
CREATE INDEX devices_user ON public.devices (user_id);
COMMENT ON TABLE public.devices IS 'Devices: one SIP registration each, a phone or an app.';
COMMENT ON COLUMN public.devices.id IS 'Number of the row.';
COMMENT ON COLUMN public.devices.account_id IS 'Account the device belongs to.';
COMMENT ON COLUMN public.devices.domain_id IS 'SIP domain of the device, one of the account.';
COMMENT ON COLUMN public.devices.user_id IS 'User the device rings for; null: no one.';
COMMENT ON COLUMN public.devices.name IS 'User part of the address of record, and digest user name.';
COMMENT ON COLUMN public.devices.ha1_md5 IS 'MD5 of name:domain:password. Set it with set_device_password().';
COMMENT ON COLUMN public.devices.ha1_sha256 IS 'SHA-256 of name:domain:password. Set it with set_device_password().';
COMMENT ON COLUMN public.devices.call_limit IS 'Calls of the device at the same time; null: no limit.';
COMMENT ON COLUMN public.devices.caller_id IS 'Number shown to outside parties; null: as the user.';
COMMENT ON COLUMN public.devices.enabled IS 'False: the device may not register nor call.';

CREATE TABLE public.extensions (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT extensions_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT extensions_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    extension public.dialable NOT NULL,
    kind text NOT NULL CONSTRAINT extensions_kind CHECK (
        kind IN ('user', 'voicemail', 'voicemail_main', 'echo', 'announcement', 'number')
    ),
    user_id bigint,
    target text,
    ring_time_s public.seconds NOT NULL DEFAULT 25,
    on_busy public.step NOT NULL DEFAULT 'busy',
    on_no_answer public.step NOT NULL DEFAULT 'hangup',
    on_unregistered public.step NOT NULL DEFAULT 'hangup',
    CONSTRAINT extensions_extension_key UNIQUE (account_id, extension),
    CONSTRAINT extensions_account_id_key UNIQUE (account_id, id),
    CONSTRAINT extensions_user_fkey FOREIGN KEY (account_id, user_id) REFERENCES public.users (account_id, id),
    CONSTRAINT extensions_user CHECK ((kind = 'user') = (user_id IS NOT NULL)),
    CONSTRAINT extensions_target CHECK (
        CASE kind
            WHEN 'voicemail' THEN coalesce(target, '') ~ '^[0-9]{1,16}$'
            WHEN 'announcement' THEN coalesce(target, '') ~ '^[a-z][a-z0-9-]{0,31}$'
            WHEN 'number' THEN coalesce(target, '') ~ '^\+[1-9][0-9]{4,14}$'
            ELSE target IS NULL
        END
    )
);
CREATE INDEX extensions_user ON public.extensions (user_id);
COMMENT ON TABLE public.extensions IS 'Extensions: what happens when someone in the account dials this.';
COMMENT ON COLUMN public.extensions.id IS 'Number of the row.';
COMMENT ON COLUMN public.extensions.account_id IS 'Account the extension belongs to.';
COMMENT ON COLUMN public.extensions.extension IS 'What is dialled.';
COMMENT ON COLUMN public.extensions.kind IS
    'user: ring the devices of a user; voicemail: leave a message; voicemail_main: listen to messages; echo: echo test; '
    'announcement: play one; number: call an outside number.';
COMMENT ON COLUMN public.extensions.user_id IS 'User to ring, for kind user; null otherwise.';
COMMENT ON COLUMN public.extensions.target IS
    'Mailbox for kind voicemail, name of the announcement for announcement, E.164 number for number; null otherwise.';
COMMENT ON COLUMN public.extensions.ring_time_s IS 'How long the devices ring, in seconds.';
COMMENT ON COLUMN public.extensions.on_busy IS 'What comes next when the user is busy.';
COMMENT ON COLUMN public.extensions.on_no_answer IS 'What comes next when nobody answers in time.';
COMMENT ON COLUMN public.extensions.on_unregistered IS 'What comes next when no device of the user is registered.';

CREATE TABLE public.numbers (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT numbers_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT numbers_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    e164 public.e164 NOT NULL CONSTRAINT numbers_e164_key UNIQUE,
    extension_id bigint NOT NULL,
    CONSTRAINT numbers_extension_fkey FOREIGN KEY (account_id, extension_id)
        REFERENCES public.extensions (account_id, id)
);
CREATE INDEX numbers_account ON public.numbers (account_id);
CREATE INDEX numbers_extension ON public.numbers (extension_id);
COMMENT ON TABLE public.numbers IS 'Public numbers and the extension each leads to.';
COMMENT ON COLUMN public.numbers.id IS 'Number of the row.';
COMMENT ON COLUMN public.numbers.account_id IS 'Account the number is routed to.';
COMMENT ON COLUMN public.numbers.e164 IS 'The number, with + and country code. One account at most owns it.';
COMMENT ON COLUMN public.numbers.extension_id IS 'Extension of the account that a call to the number reaches.';

CREATE TABLE public.voicemail_boxes (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT voicemail_boxes_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT voicemail_boxes_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    mailbox public.mailbox NOT NULL,
    user_id bigint,
    display_name public.label NOT NULL,
    email public.email,
    pin_digest public.pin_digest,
    language public.language,
    CONSTRAINT voicemail_boxes_mailbox_key UNIQUE (account_id, mailbox),
    CONSTRAINT voicemail_boxes_user_fkey FOREIGN KEY (account_id, user_id)
        REFERENCES public.users (account_id, id) ON DELETE SET NULL (user_id)
);
CREATE INDEX voicemail_boxes_user ON public.voicemail_boxes (user_id);
COMMENT ON TABLE public.voicemail_boxes IS 'Voicemail boxes.';
COMMENT ON COLUMN public.voicemail_boxes.id IS 'Number of the row.';
COMMENT ON COLUMN public.voicemail_boxes.account_id IS 'Account the mailbox belongs to.';
COMMENT ON COLUMN public.voicemail_boxes.mailbox IS 'Number of the mailbox, unique in the account.';
COMMENT ON COLUMN public.voicemail_boxes.user_id IS 'User whose messages it takes; null: no one alone.';
COMMENT ON COLUMN public.voicemail_boxes.display_name IS 'Name of the mailbox in mails.';
COMMENT ON COLUMN public.voicemail_boxes.email IS 'Where new messages are announced; null: nowhere.';
COMMENT ON COLUMN public.voicemail_boxes.pin_digest IS
    'SHA-1 of mailbox@account:pin. Set it with set_mailbox_pin(). Null: only the devices of the user may listen.';
COMMENT ON COLUMN public.voicemail_boxes.language IS 'Language of its announcements; null: as the user.';

CREATE TABLE public.trunks (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT trunks_pkey PRIMARY KEY,
    account_id bigint CONSTRAINT trunks_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    name public.slug NOT NULL CONSTRAINT trunks_name_key UNIQUE,
    host public.host NOT NULL,
    port public.port NOT NULL DEFAULT 5060,
    transport text NOT NULL DEFAULT 'udp'
        CONSTRAINT trunks_transport CHECK (transport IN ('udp', 'tcp', 'tls')),
    auth_user public.auth_name,
    auth_realm public.auth_name,
    auth_ha1_md5 public.ha1_md5,
    register boolean NOT NULL DEFAULT false,
    call_limit public.call_limit,
    number_format text NOT NULL DEFAULT 'e164'
        CONSTRAINT trunks_number_format CHECK (number_format IN ('e164', 'digits', 'national')),
    caller_id public.e164,
    enabled boolean NOT NULL DEFAULT true,
    CONSTRAINT trunks_auth CHECK (num_nulls(auth_user, auth_realm, auth_ha1_md5) IN (0, 3)),
    CONSTRAINT trunks_register CHECK (NOT register OR auth_user IS NOT NULL)
);
CREATE INDEX trunks_account ON public.trunks (account_id);
COMMENT ON TABLE public.trunks IS 'Trunks: carriers and customer PBXs.';
COMMENT ON COLUMN public.trunks.id IS 'Number of the row.';
COMMENT ON COLUMN public.trunks.account_id IS 'Account that alone may use the trunk; null: shared by all.';
COMMENT ON COLUMN public.trunks.name IS 'Name of the trunk.';
COMMENT ON COLUMN public.trunks.host IS 'Where calls are sent: host name or IPv4 address.';
COMMENT ON COLUMN public.trunks.port IS 'Port calls are sent to.';
COMMENT ON COLUMN public.trunks.transport IS 'udp, tcp or tls.';
COMMENT ON COLUMN public.trunks.auth_user IS 'Digest user name the trunk wants from us; null: none.';
COMMENT ON COLUMN public.trunks.auth_realm IS 'Digest realm of the trunk.';
COMMENT ON COLUMN public.trunks.auth_ha1_md5 IS
    'MD5 of auth_user:auth_realm:password. Set it with set_trunk_password().';
COMMENT ON COLUMN public.trunks.register IS 'True: we register with the trunk.';
COMMENT ON COLUMN public.trunks.call_limit IS 'Calls over the trunk at the same time; null: no limit.';
COMMENT ON COLUMN public.trunks.number_format IS 'How it wants numbers: e164 +49301234, digits 49301234, national 0301234.';
COMMENT ON COLUMN public.trunks.caller_id IS 'Number shown on all calls over the trunk; null: that of the caller.';
COMMENT ON COLUMN public.trunks.enabled IS 'False: no calls either way.';

CREATE TABLE public.trunk_addresses (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT trunk_addresses_pkey PRIMARY KEY,
    trunk_id bigint NOT NULL CONSTRAINT trunk_addresses_trunk_fkey REFERENCES public.trunks ON DELETE CASCADE,
    address cidr NOT NULL,
    CONSTRAINT trunk_addresses_size CHECK (masklen(address) >= CASE family(address) WHEN 4 THEN 24 ELSE 120 END),
    CONSTRAINT trunk_addresses_overlap EXCLUDE USING gist (address inet_ops WITH &&)
);
CREATE INDEX trunk_addresses_trunk ON public.trunk_addresses (trunk_id);
COMMENT ON TABLE public.trunk_addresses IS 'Addresses that calls of a trunk come from. No address belongs to two trunks.';
COMMENT ON COLUMN public.trunk_addresses.id IS 'Number of the row.';
COMMENT ON COLUMN public.trunk_addresses.trunk_id IS 'The trunk.';
COMMENT ON COLUMN public.trunk_addresses.address IS 'One address or a network of at most 256 (/24, or /120 in IPv6).';

CREATE TABLE public.routes (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT routes_pkey PRIMARY KEY,
    account_id bigint CONSTRAINT routes_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    prefix public.number_prefix NOT NULL,
    trunk_id bigint NOT NULL CONSTRAINT routes_trunk_fkey REFERENCES public.trunks,
    priority public.priority NOT NULL DEFAULT 100,
    weight public.weight NOT NULL DEFAULT 10,
    CONSTRAINT routes_key UNIQUE NULLS NOT DISTINCT (account_id, prefix, trunk_id)
);
CREATE INDEX routes_trunk ON public.routes (trunk_id);
COMMENT ON TABLE public.routes IS
    'Outbound routes: the longest prefix wins, then the lowest priority; among equals the weight is the share.';
COMMENT ON COLUMN public.routes.id IS 'Number of the row.';
COMMENT ON COLUMN public.routes.account_id IS 'Account the route is for; null: for all.';
COMMENT ON COLUMN public.routes.prefix IS 'First digits of the E.164 number without +; empty: every number.';
COMMENT ON COLUMN public.routes.trunk_id IS 'Trunk to leave by: a shared one, or one of the same account.';
COMMENT ON COLUMN public.routes.priority IS 'Order of trial among routes of the same prefix, the lowest first.';
COMMENT ON COLUMN public.routes.weight IS 'Share among routes of the same prefix and priority.';

CREATE TABLE public.emergency_numbers (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT emergency_numbers_pkey PRIMARY KEY,
    country public.country NOT NULL CONSTRAINT emergency_numbers_country_fkey REFERENCES public.countries,
    number public.emergency NOT NULL,
    CONSTRAINT emergency_numbers_number_key UNIQUE (country, number)
);
COMMENT ON TABLE public.emergency_numbers IS 'Emergency numbers: no limit and no block stops them.';
COMMENT ON COLUMN public.emergency_numbers.id IS 'Number of the row.';
COMMENT ON COLUMN public.emergency_numbers.country IS 'Country of the accounts it applies to.';
COMMENT ON COLUMN public.emergency_numbers.number IS 'The number as dialled, such as 112.';

CREATE TABLE public.emergency_routes (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT emergency_routes_pkey PRIMARY KEY,
    emergency_number_id bigint NOT NULL
        CONSTRAINT emergency_routes_number_fkey REFERENCES public.emergency_numbers ON DELETE CASCADE,
    trunk_id bigint NOT NULL CONSTRAINT emergency_routes_trunk_fkey REFERENCES public.trunks,
    priority public.priority NOT NULL DEFAULT 100,
    CONSTRAINT emergency_routes_key UNIQUE (emergency_number_id, trunk_id)
);
CREATE INDEX emergency_routes_trunk ON public.emergency_routes (trunk_id);
COMMENT ON TABLE public.emergency_routes IS 'Trunks that emergency calls leave by.';
COMMENT ON COLUMN public.emergency_routes.id IS 'Number of the row.';
COMMENT ON COLUMN public.emergency_routes.emergency_number_id IS 'The emergency number.';
COMMENT ON COLUMN public.emergency_routes.trunk_id IS 'A shared trunk.';
COMMENT ON COLUMN public.emergency_routes.priority IS 'Order of trial, the lowest first.';

CREATE TABLE public.blocks (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT blocks_pkey PRIMARY KEY,
    scope text NOT NULL CONSTRAINT blocks_scope CHECK (scope IN ('account', 'device', 'source', 'all')),
    subject text NOT NULL,
    what text NOT NULL DEFAULT '*' CONSTRAINT blocks_what CHECK (what ~ '^(\*|\+[1-9][0-9]{0,14})$'),
    reason public.word NOT NULL,
    expires_at timestamptz,
    CONSTRAINT blocks_key UNIQUE (scope, subject, what),
    CONSTRAINT blocks_subject CHECK (
        CASE scope
            WHEN 'account' THEN subject ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$'
            WHEN 'device' THEN subject ~ '^[a-z0-9][a-z0-9._-]{0,63}@[a-z0-9.-]{1,253}$'
            WHEN 'source' THEN pg_input_is_valid(subject, 'inet') AND subject = host(subject::inet)
            ELSE subject = '*'
        END
    ),
    CONSTRAINT blocks_everything CHECK (scope <> 'all' OR what <> '*')
);
CREATE INDEX blocks_expiry ON public.blocks (expires_at);
COMMENT ON TABLE public.blocks IS 'What may not call or be called. Live on every edge at commit, no apply needed.';
COMMENT ON COLUMN public.blocks.id IS 'Number of the row.';
COMMENT ON COLUMN public.blocks.scope IS 'Who is blocked: account, device, source (an IP address) or all.';
COMMENT ON COLUMN public.blocks.subject IS 'Account name, device@domain, IP address; * for scope all.';
COMMENT ON COLUMN public.blocks.what IS 'First digits of the numbers they may not call, with +; *: nothing at all.';
COMMENT ON COLUMN public.blocks.reason IS 'Why, one word, such as fraud.';
COMMENT ON COLUMN public.blocks.expires_at IS 'When the block ends by itself; null: never.';
