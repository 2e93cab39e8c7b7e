-- Changes of a plan on their way into a revision: written by several workers when a plan is big.

CREATE UNLOGGED TABLE control.staged (
    plan uuid NOT NULL,
    kind text NOT NULL,
    scope text NOT NULL,
    tbl text NOT NULL,
    key text NOT NULL,
    account text,
    old text,
    new text,
    reason text NOT NULL,
    staged_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX staged_plan ON control.staged (plan);
COMMENT ON TABLE control.staged IS 'Changes of plans not published yet. Not logged: a crash empties it, and plans are made again.';
COMMENT ON COLUMN control.staged.plan IS 'Which plan.';
COMMENT ON COLUMN control.staged.kind IS 'Kind of node that holds the entry: edge or media.';
COMMENT ON COLUMN control.staged.scope IS '* or the group of nodes that hold the entry.';
COMMENT ON COLUMN control.staged.tbl IS 'Table of the node.';
COMMENT ON COLUMN control.staged.key IS 'Key in that table.';
COMMENT ON COLUMN control.staged.account IS 'Account the entry is for; null: shared.';
COMMENT ON COLUMN control.staged.old IS 'Value published now; null: the entry is created.';
COMMENT ON COLUMN control.staged.new IS 'Value wanted; null: the entry is deleted.';
COMMENT ON COLUMN control.staged.reason IS 'Why.';
COMMENT ON COLUMN control.staged.staged_at IS 'When.';

GRANT SELECT, INSERT, DELETE ON control.staged TO dialplane_controller;
