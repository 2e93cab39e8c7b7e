-- Messages the edge has accepted and its agent has not shipped yet (messages.db): the edge adds a row and commits it before it
-- answers 202, the agent removes it after PostgreSQL has committed it. Run once before the first start; safe to run again.
-- `type` and `body` are base64; `ms`: milliseconds since 1970; `expires`: seconds, -1: the sender said nothing; `target`: the one
-- device it was meant for, '' when that is not for the edge to say; `why`: what kept it from a phone; `source`, `agent`: the address
-- it came from and the phone's user agent, as in lines of the spool (events.cfg).
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS message (
    id TEXT NOT NULL UNIQUE,
    ms INTEGER NOT NULL,
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    user TEXT NOT NULL,
    called TEXT NOT NULL,
    target TEXT NOT NULL,
    why TEXT NOT NULL,
    expires INTEGER NOT NULL,
    type TEXT NOT NULL,
    body TEXT NOT NULL,
    source TEXT NOT NULL DEFAULT '',
    agent TEXT NOT NULL DEFAULT ''
);
