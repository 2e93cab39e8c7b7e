-- Messages, one row each, and what became of each delivery. Edges take them and ship them (kamailio/messages.cfg);
-- controller/messages/ decides. What a message says is kept until nobody waits for it any more.

ALTER TABLE public.groups
    ADD COLUMN messages text NOT NULL DEFAULT 'as_calls'
        CONSTRAINT groups_messages CHECK (messages IN ('as_calls', 'all', 'present', 'none'));
COMMENT ON COLUMN public.groups.messages IS
    'Who gets messages to the group. as_calls: with strategy all every member, else one after the other until somebody has it; all; '
    'present: the members who are registered, all if nobody is; none: nobody. Members who are away, must not be disturbed, or do '
    'not ring for that sender at that time get none.';
COMMENT ON CONSTRAINT groups_messages ON public.groups IS 'choose as_calls, all, present or none';

CREATE TABLE control.messages (
    id uuid NOT NULL CONSTRAINT messages_pkey PRIMARY KEY,
    account text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    way text NOT NULL CONSTRAINT messages_way CHECK (way IN ('straight', 'accepted', 'inbound', 'command', 'report')),
    edge text,
    sender text NOT NULL,
    sender_user text,
    called text NOT NULL,
    target text,
    lead text,
    shown text,
    content_type text NOT NULL DEFAULT 'text/plain;charset=UTF-8',
    body bytea,
    size integer NOT NULL DEFAULT 0,
    why text NOT NULL DEFAULT '',
    parent uuid CONSTRAINT messages_parent_fkey REFERENCES control.messages ON DELETE CASCADE,
    taking text NOT NULL DEFAULT 'all' CONSTRAINT messages_taking CHECK (taking IN ('all', 'one')),
    state text NOT NULL CONSTRAINT messages_state CHECK (
        state IN ('accepted', 'open', 'delivered', 'failed', 'expired', 'refused')
    ),
    status integer,
    reason text NOT NULL DEFAULT '',
    expires_at timestamptz NOT NULL DEFAULT clock_timestamp() + interval '7 days',
    ended_at timestamptz,
    CONSTRAINT messages_ended CHECK (ended_at IS NULL OR state IN ('delivered', 'failed', 'expired', 'refused'))
);
CREATE INDEX messages_accepted ON control.messages (at) WHERE state = 'accepted';
CREATE INDEX messages_running ON control.messages (expires_at) WHERE ended_at IS NULL;
CREATE INDEX messages_account ON control.messages (account, at DESC);
CREATE INDEX messages_at ON control.messages (at DESC);
CREATE INDEX messages_parent ON control.messages (parent) WHERE parent IS NOT NULL;
COMMENT ON TABLE control.messages IS 'Messages: who wrote to whom, which way, and what became of it. Deliveries are rows of their own.';
COMMENT ON COLUMN control.messages.id IS 'Id that phones see too (X-DP-Message).';
COMMENT ON COLUMN control.messages.account IS 'Account whose message it is: of the sender, or of the number it came to.';
COMMENT ON COLUMN control.messages.at IS 'When it was accepted, or over.';
COMMENT ON COLUMN control.messages.way IS
    'straight: from phone to phone by an edge; accepted: kept by an edge; inbound: from outside; command: dialplane message '
    'send; report: tells the sender of another one what became of it.';
COMMENT ON COLUMN control.messages.edge IS 'Edge it came to; null: none.';
COMMENT ON COLUMN control.messages.sender IS 'Device that wrote it, or number outside.';
COMMENT ON COLUMN control.messages.sender_user IS 'User of that device; null: none.';
COMMENT ON COLUMN control.messages.called IS 'Whom it was written to, as the sender wrote it.';
COMMENT ON COLUMN control.messages.target IS 'The one device it was meant for, if an edge knew; null: what called leads to.';
COMMENT ON COLUMN control.messages.lead IS 'What that led to: device:<address>, user:<name>, group:<name>, number:<E.164>; null: not yet known.';
COMMENT ON COLUMN control.messages.shown IS 'Number it carries outside, or the group''s in whose name it was written; null: the sender.';
COMMENT ON COLUMN control.messages.content_type IS 'Content-Type, as it came.';
COMMENT ON COLUMN control.messages.body IS 'What it says; null: nobody waits for it any more, or it went straight.';
COMMENT ON COLUMN control.messages.size IS 'Bytes of that; 0: it went straight.';
COMMENT ON COLUMN control.messages.why IS
    'What kept an edge from relaying it: several (devices, or none), unregistered, or what the phone answered.';
COMMENT ON COLUMN control.messages.parent IS 'Message that a report tells of.';
COMMENT ON COLUMN control.messages.taking IS 'all: every delivery is made; one: until somebody has it.';
COMMENT ON COLUMN control.messages.state IS
    'accepted (nobody has looked yet), open (somebody is to get it), delivered (somebody has it), failed, expired, refused (by an edge).';
COMMENT ON COLUMN control.messages.status IS 'SIP status: what the sender was told, or the last of a delivery; null: none.';
COMMENT ON COLUMN control.messages.reason IS 'Why it failed or was refused.';
COMMENT ON COLUMN control.messages.expires_at IS 'Nobody gets it later.';
COMMENT ON COLUMN control.messages.ended_at IS 'When its last delivery was over; null: somebody still waits.';
COMMENT ON CONSTRAINT messages_way ON control.messages IS 'way is straight, accepted, inbound, command or report';
COMMENT ON CONSTRAINT messages_taking ON control.messages IS 'taking is all or one';
COMMENT ON CONSTRAINT messages_state ON control.messages IS
    'state is accepted, open, delivered, failed, expired or refused';
COMMENT ON CONSTRAINT messages_ended ON control.messages IS 'a message that is over has an outcome';
COMMENT ON CONSTRAINT messages_parent_fkey ON control.messages IS 'there is no such message, or a report tells of it';

CREATE TABLE control.message_deliveries (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT message_deliveries_pkey PRIMARY KEY,
    message uuid NOT NULL CONSTRAINT message_deliveries_message_fkey REFERENCES control.messages ON DELETE CASCADE,
    purpose text NOT NULL DEFAULT 'to' CONSTRAINT message_deliveries_purpose CHECK (purpose IN ('to', 'copy')),
    kind text NOT NULL CONSTRAINT message_deliveries_kind CHECK (kind IN ('device', 'number')),
    address text COLLATE "C" NOT NULL,
    member text,
    shown text,
    place integer NOT NULL DEFAULT 0,
    state text NOT NULL CONSTRAINT message_deliveries_state CHECK (
        state IN ('held', 'due', 'away', 'sending', 'delivered', 'failed', 'expired', 'withdrawn')
    ),
    due_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    tries integer NOT NULL DEFAULT 0,
    lease_until timestamptz,
    edge text,
    status integer,
    reason text NOT NULL DEFAULT '',
    ended_at timestamptz,
    CONSTRAINT message_deliveries_key UNIQUE (message, purpose, kind, address),
    CONSTRAINT message_deliveries_lease CHECK ((state = 'sending') = (lease_until IS NOT NULL))
);
CREATE INDEX message_deliveries_due ON control.message_deliveries (due_at) WHERE state = 'due';
CREATE INDEX message_deliveries_away ON control.message_deliveries (address) WHERE state = 'away';
CREATE INDEX message_deliveries_sending ON control.message_deliveries (address) WHERE state = 'sending';
COMMENT ON TABLE control.message_deliveries IS 'Who gets a message, and what became of that.';
COMMENT ON COLUMN control.message_deliveries.id IS 'Number of the delivery; older ones to one address go first.';
COMMENT ON COLUMN control.message_deliveries.message IS 'The message.';
COMMENT ON COLUMN control.message_deliveries.purpose IS 'to: it is meant; copy: a member of its group wrote it in the group''s name.';
COMMENT ON COLUMN control.message_deliveries.kind IS 'device, or number (outside).';
COMMENT ON COLUMN control.message_deliveries.address IS 'Address of record of the device, or E.164 number.';
COMMENT ON COLUMN control.message_deliveries.member IS 'Member of the group that it is for; null: no group.';
COMMENT ON COLUMN control.message_deliveries.shown IS 'Number it comes from for who gets it; null: the sender.';
COMMENT ON COLUMN control.message_deliveries.place IS 'Where one gets it after the other: its turn, from 0.';
COMMENT ON COLUMN control.message_deliveries.state IS
    'held (not its turn yet), due (at due_at), away (the device is not registered: when it is), sending, delivered, failed, '
    'expired, withdrawn (another one has it).';
COMMENT ON COLUMN control.message_deliveries.due_at IS 'When it is tried next.';
COMMENT ON COLUMN control.message_deliveries.tries IS 'How often it was tried.';
COMMENT ON COLUMN control.message_deliveries.lease_until IS 'Until then one process sends it; later anybody may. Null: nobody does.';
COMMENT ON COLUMN control.message_deliveries.edge IS 'Edge whose agent sent it last; null: none yet.';
COMMENT ON COLUMN control.message_deliveries.status IS 'What the phone, or whoever carries it, answered last; null: nothing.';
COMMENT ON COLUMN control.message_deliveries.reason IS 'What that says.';
COMMENT ON COLUMN control.message_deliveries.ended_at IS 'When it was over; null: it is not.';
COMMENT ON CONSTRAINT message_deliveries_message_fkey ON control.message_deliveries IS 'there is no such message, or it has deliveries';
COMMENT ON CONSTRAINT message_deliveries_purpose ON control.message_deliveries IS 'purpose is to or copy';
COMMENT ON CONSTRAINT message_deliveries_kind ON control.message_deliveries IS 'kind is device or number';
COMMENT ON CONSTRAINT message_deliveries_state ON control.message_deliveries IS
    'state is held, due, away, sending, delivered, failed, expired or withdrawn';
COMMENT ON CONSTRAINT message_deliveries_key ON control.message_deliveries IS 'nobody gets a message twice';
COMMENT ON CONSTRAINT message_deliveries_lease ON control.message_deliveries IS 'a delivery has a lease while it is sent, and only then';

CREATE FUNCTION control.tell_message() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('dialplane_message', NEW.id::text);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.tell_message() IS 'Channel dialplane_message: id of a message that nobody has looked at, or whose state changed.';
CREATE TRIGGER tell_insert AFTER INSERT ON control.messages FOR EACH ROW EXECUTE FUNCTION control.tell_message();
CREATE TRIGGER tell_update AFTER UPDATE ON control.messages
    FOR EACH ROW WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION control.tell_message();

CREATE FUNCTION control.forget_messages(most integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    days integer;
    removed bigint;
BEGIN
    days := nullif(coalesce(
        (SELECT s.value FROM public.settings AS s WHERE s.name = 'messages_keep_days'), '400'), 'forever')::integer;
    DELETE FROM control.messages AS m WHERE m.ctid = ANY (ARRAY(
        SELECT o.ctid FROM control.messages AS o
        WHERE o.ended_at < clock_timestamp() - make_interval(days => days) LIMIT most));
    GET DIAGNOSTICS removed = ROW_COUNT;
    -- Each try of a delivery was a command to an agent; what came of it stands with the delivery.
    DELETE FROM control.node_commands AS c WHERE c.ctid = ANY (ARRAY(
        SELECT o.ctid FROM control.node_commands AS o
        WHERE o.verb = 'message' AND o.done_at < clock_timestamp() - interval '10 minutes' LIMIT most));
    RETURN removed;
END
$$;
COMMENT ON FUNCTION control.forget_messages IS
    'Removes messages that are over for longer than the setting messages_keep_days (400; forever) says, at most so many; how many. '
    'And commands of deliveries that are done.';
COMMENT ON COLUMN public.settings.name IS
    'Name of the setting. zone: internal DNS zone between edges and media nodes; device_zone (phones.<zone>): DNS zone of the '
    'names that phones are provisioned with; name_servers (ns1.<zone>): host names joined with commas, each with /address '
    'where it lies in our zones; dns_ttl_s (5): how long answers are kept; dns_negative_ttl_s (dns_ttl_s): how long that there '
    'is no such name; dns_refresh_s (10): how often secondary name servers ask for changes; '
    'recordings_keep_days: recordings of accounts '
    'that say nothing of their own are removed after so many days; queue_events_keep_days (400), call_events_keep_days (90), '
    'change_log_keep_days (90), audit_keep_days (forever), messages_keep_days (400): rows of these logs are removed after so many '
    'days.';

GRANT SELECT, INSERT, UPDATE ON control.messages, control.message_deliveries TO dialplane_admin, dialplane_controller;
GRANT SELECT, INSERT ON control.messages TO dialplane_agent;
GRANT SELECT, INSERT ON control.message_deliveries TO dialplane_agent;
-- What a message says is for those who wait for it.
GRANT SELECT (id, account, at, way, edge, sender, sender_user, called, target, lead, shown, content_type, size, why, parent, taking,
              state, status, reason, expires_at, ended_at) ON control.messages TO dialplane_reader;
GRANT SELECT ON control.message_deliveries TO dialplane_reader;
GRANT EXECUTE ON FUNCTION control.forget_messages TO dialplane_admin, dialplane_controller;

CALL control.explain_refusals();
