-- The node's state file. Servers read the views at their own start; only the agent writes.

CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS entry (
    tbl TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, revision INTEGER NOT NULL,
    PRIMARY KEY (tbl, key)
) WITHOUT ROWID;

-- Changes not yet done on the server and read back; value null: delete.
CREATE TABLE IF NOT EXISTS pending (
    tbl TEXT NOT NULL, key TEXT NOT NULL, value TEXT, PRIMARY KEY (tbl, key)
) WITHOUT ROWID;

-- Dialplan entries cut into the lines Asterisk loads: 1,000,000 of them at a start, so they are stored cut.
CREATE TABLE IF NOT EXISTS line (
    context TEXT NOT NULL, exten TEXT NOT NULL, n INTEGER NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (context, exten, n)
) WITHOUT ROWID;

-- One row per box: app_voicemail looks it up by mailbox and context during a call.
CREATE TABLE IF NOT EXISTS box (
    mailbox TEXT NOT NULL, context TEXT NOT NULL, password TEXT NOT NULL, fullname TEXT NOT NULL,
    email TEXT NOT NULL, language TEXT NOT NULL, PRIMARY KEY (mailbox, context)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS version (table_name TEXT PRIMARY KEY, table_version INTEGER NOT NULL);

DROP VIEW IF EXISTS ast_config;
CREATE VIEW ast_config AS
SELECT 'dialplane-accounts.conf' AS filename, 0 AS cat_metric, 0 AS var_metric, 0 AS commented,
       context AS category, 'exten' AS var_name, text AS var_val
FROM line;

DROP VIEW IF EXISTS voicemail;
CREATE VIEW voicemail AS
SELECT mailbox || '@' || context AS uniqueid, context, mailbox, password, fullname, email, language FROM box;
