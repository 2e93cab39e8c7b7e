-- A name server on a read replica keeps answers too: nobody hears NOTIFY there, so who takes its answers back compares two
-- numbers, some tens of times a second. One is the serial of names; this is the other, of what no serial counts.

CREATE TABLE control.condition_serial (
    one boolean NOT NULL DEFAULT true CONSTRAINT condition_serial_pkey PRIMARY KEY
        CONSTRAINT condition_serial_one CHECK (one),
    serial bigint NOT NULL
);
COMMENT ON TABLE control.condition_serial IS 'How often conditions of media nodes changed: one row.';
COMMENT ON COLUMN control.condition_serial.one IS 'True.';
COMMENT ON COLUMN control.condition_serial.serial IS 'The number. It only grows.';
COMMENT ON CONSTRAINT condition_serial_one ON control.condition_serial IS 'there is one row';
INSERT INTO control.condition_serial (serial) VALUES (1);

-- Whoever writes conditions holds the publishers' lock: nobody waits for this row who did not wait for that.
CREATE OR REPLACE FUNCTION control.tell_condition() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE control.condition_serial AS s SET serial = s.serial + 1;
    PERFORM pg_notify('dialplane_condition', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.tell_condition IS
    'What name servers answer changed without a row that people edit: channel dialplane_condition, and '
    'control.condition_serial for those on a replica.';

CREATE VIEW dns.changes WITH (security_barrier) AS
SELECT n.serial AS names, c.serial AS conditions
FROM control.name_serial AS n CROSS JOIN control.condition_serial AS c;
COMMENT ON VIEW dns.changes IS
    'Two numbers, of which one grows with every change of what name servers answer. One row.';
COMMENT ON COLUMN dns.changes.names IS 'The serial of both zones: rows that people edit.';
COMMENT ON COLUMN dns.changes.conditions IS 'Changes of which media nodes take calls, and how large a share.';

GRANT SELECT ON control.condition_serial TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT SELECT ON dns.changes TO dialplane_dns, dialplane_admin, dialplane_controller, dialplane_reader;

CALL control.explain_refusals();
