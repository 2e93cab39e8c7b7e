-- What Kamailio reads from the agent's file at its own start (and never while it routes calls).
-- The agent writes table `entry`; everything else is a view of it. Safe to run again.
CREATE TABLE IF NOT EXISTS entry (
    tbl TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tbl, key)
) WITHOUT ROWID;

CREATE VIEW IF NOT EXISTS ht_account AS SELECT key AS key_name, 0 AS key_type, 0 AS value_type, value AS key_value, 0 AS expires FROM entry WHERE tbl = 'account';
CREATE VIEW IF NOT EXISTS ht_domain AS SELECT key AS key_name, 0 AS key_type, 0 AS value_type, value AS key_value, 0 AS expires FROM entry WHERE tbl = 'domain';
CREATE VIEW IF NOT EXISTS ht_credential AS SELECT key AS key_name, 0 AS key_type, 0 AS value_type, value AS key_value, 0 AS expires FROM entry WHERE tbl = 'credential';
CREATE VIEW IF NOT EXISTS ht_straight AS SELECT key AS key_name, 0 AS key_type, 0 AS value_type, value AS key_value, 0 AS expires FROM entry WHERE tbl = 'straight';
CREATE VIEW IF NOT EXISTS ht_number AS SELECT key AS key_name, 0 AS key_type, 0 AS value_type, value AS key_value, 0 AS expires FROM entry WHERE tbl = 'number';
CREATE VIEW IF NOT EXISTS ht_trunk AS SELECT key AS key_name, 0 AS key_type, 0 AS value_type, value AS key_value, 0 AS expires FROM entry WHERE tbl = 'trunk';
CREATE VIEW IF NOT EXISTS ht_trunk_address AS SELECT key AS key_name, 0 AS key_type, 0 AS value_type, value AS key_value, 0 AS expires FROM entry WHERE tbl = 'trunk_address';
CREATE VIEW IF NOT EXISTS ht_media_node AS SELECT key AS key_name, 0 AS key_type, 0 AS value_type, value AS key_value, 0 AS expires FROM entry WHERE tbl = 'media_node';
CREATE VIEW IF NOT EXISTS ht_emergency AS SELECT key AS key_name, 0 AS key_type, 0 AS value_type, value AS key_value, 0 AS expires FROM entry WHERE tbl = 'emergency';
CREATE VIEW IF NOT EXISTS ht_target AS SELECT key AS key_name, 0 AS key_type, 0 AS value_type, value AS key_value, 0 AS expires FROM entry WHERE tbl = 'target';
CREATE VIEW IF NOT EXISTS ht_block AS SELECT key AS key_name, 0 AS key_type, 0 AS value_type, value AS key_value, 0 AS expires FROM entry WHERE tbl = 'block';

-- Registrations at carriers, in the shape of Kamailio's table uacreg (version 5). Values hold no quote, `;`
-- or `=` of their own, so `a=b;c=d` becomes a JSON object by replacing.
CREATE VIEW IF NOT EXISTS uacreg AS
WITH parts AS (
    SELECT key AS trunk, '{"' || replace(replace(value, '=', '":"'), ';', '","') || '"}' AS j
    FROM entry WHERE tbl = 'registration'
)
SELECT trunk AS l_uuid, trunk AS l_username, json_extract(j, '$.host') AS l_domain,
    json_extract(j, '$.user') AS r_username, json_extract(j, '$.host') AS r_domain,
    coalesce(json_extract(j, '$.realm'), '') AS realm, json_extract(j, '$.user') AS auth_username,
    '' AS auth_password, json_extract(j, '$.ha1') AS auth_ha1,
    'sip:' || json_extract(j, '$.host') || ':' || coalesce(json_extract(j, '$.port'), '5060')
        || ';transport=' || coalesce(json_extract(j, '$.transport'), 'udp') AS auth_proxy,
    CAST(coalesce(json_extract(j, '$.expires'), '600') AS INTEGER) AS expires,
    0 AS flags, 0 AS reg_delay, '' AS contact_addr, '' AS socket
FROM parts;

CREATE TABLE IF NOT EXISTS version (table_name TEXT PRIMARY KEY NOT NULL, table_version INTEGER NOT NULL);
INSERT OR REPLACE INTO version (table_name, table_version) VALUES ('uacreg', 5);
