-- What the active controller found at its last look, where people look.

CREATE TABLE control.controller_state (
    active boolean NOT NULL DEFAULT true CONSTRAINT controller_state_pkey PRIMARY KEY
        CONSTRAINT controller_state_active CHECK (active),
    host text NOT NULL,
    process integer NOT NULL,
    publishes boolean NOT NULL,
    since timestamptz NOT NULL,
    heard_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sentence text NOT NULL,
    wrong boolean NOT NULL
);
COMMENT ON TABLE control.controller_state IS 'The controller that is active, and what it found at its last look: one row.';
COMMENT ON COLUMN control.controller_state.active IS 'Always true: one controller is active, the others stand by.';
COMMENT ON COLUMN control.controller_state.host IS 'Its machine.';
COMMENT ON COLUMN control.controller_state.process IS 'Its process there.';
COMMENT ON COLUMN control.controller_state.publishes IS 'It publishes safe plans by itself.';
COMMENT ON COLUMN control.controller_state.since IS 'Since when it is active.';
COMMENT ON COLUMN control.controller_state.heard_at IS 'When it looked last.';
COMMENT ON COLUMN control.controller_state.sentence IS 'What it found and did.';
COMMENT ON COLUMN control.controller_state.wrong IS
    'It could make no plan of the rows: what was published before stays live.';
COMMENT ON CONSTRAINT controller_state_active ON control.controller_state IS 'one controller is active: one row';

GRANT SELECT ON control.controller_state TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT INSERT, UPDATE ON control.controller_state TO dialplane_controller;

CALL control.explain_refusals();
