-- What AGI servers keep together: whose turn it is in a group, and that each of them lives.

CREATE TABLE control.group_turns (
    account text NOT NULL,
    group_name text NOT NULL,
    memory jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT group_turns_pkey PRIMARY KEY (account, group_name),
    CONSTRAINT group_turns_memory CHECK (jsonb_typeof(memory) = 'object')
);
COMMENT ON TABLE control.group_turns IS
    'What groups remember of their calls, for all media nodes together; deleting a row begins anew.';
COMMENT ON COLUMN control.group_turns.account IS 'Account of the group.';
COMMENT ON COLUMN control.group_turns.group_name IS 'The group.';
COMMENT ON COLUMN control.group_turns.memory IS
    'last: who began the last round; answered: Unix time of each member''s last answer; calls: how many each answered on day.';
COMMENT ON COLUMN control.group_turns.changed_at IS 'When it last changed.';
COMMENT ON CONSTRAINT group_turns_memory ON control.group_turns IS 'the memory is a JSON object; {} begins anew';

CREATE TABLE control.agi_state (
    node text NOT NULL CONSTRAINT agi_state_pkey PRIMARY KEY,
    started_at timestamptz NOT NULL,
    heard_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    decisions bigint NOT NULL DEFAULT 0,
    failures jsonb NOT NULL DEFAULT '{}',
    error text,
    CONSTRAINT agi_state_failures CHECK (jsonb_typeof(failures) = 'object')
);
COMMENT ON TABLE control.agi_state IS
    'The AGI server of each media node, as it reports itself once it has asked itself over its own socket.';
COMMENT ON COLUMN control.agi_state.node IS 'The media node.';
COMMENT ON COLUMN control.agi_state.started_at IS 'When the process began.';
COMMENT ON COLUMN control.agi_state.heard_at IS 'When it last said so.';
COMMENT ON COLUMN control.agi_state.decisions IS 'Decisions answered since it began.';
COMMENT ON COLUMN control.agi_state.failures IS 'Exchanges without a decision since it began, by kind.';
COMMENT ON COLUMN control.agi_state.error IS 'Why it cannot decide now; null: it can.';
COMMENT ON CONSTRAINT agi_state_failures ON control.agi_state IS 'failures are a JSON object of kind to number';

GRANT SELECT, INSERT, UPDATE ON control.group_turns, control.agi_state TO dialplane_agent;
GRANT SELECT ON control.group_turns, control.agi_state TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT DELETE ON control.group_turns, control.agi_state TO dialplane_admin;
