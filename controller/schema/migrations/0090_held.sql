-- Accounts that a rollback holds back: their rows are ahead of what is published, on purpose.

CREATE TABLE control.held (
    account text CONSTRAINT held_pkey PRIMARY KEY,
    revision bigint NOT NULL CONSTRAINT held_revision_fkey REFERENCES control.revisions,
    since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE control.held IS
    'Accounts rolled back: `plan` goes on showing their rows, nothing publishes them by itself.';
COMMENT ON COLUMN control.held.account IS 'Name of the account; the empty text: what all accounts share.';
COMMENT ON COLUMN control.held.revision IS 'The rollback.';
COMMENT ON COLUMN control.held.since IS 'When.';

GRANT SELECT, INSERT, UPDATE, DELETE ON control.held TO dialplane_controller;
GRANT SELECT ON control.held TO dialplane_admin, dialplane_reader;
