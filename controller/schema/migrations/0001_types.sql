-- Schemas, group roles and the types of all values.
--
-- Values travel into htables as name=value pairs joined with semicolons, into dialplan lines and SIP headers.
-- So no type admits ; = quotes, backslash or control characters, and only texts for people admit a space.

CREATE SCHEMA control;
COMMENT ON SCHEMA public IS 'The rows that people edit: accounts, devices, numbers, trunks, nodes.';
COMMENT ON SCHEMA control IS 'What dialplane writes: change log, audit, revisions, entries, node state, call records.';

-- Group roles are shared by all databases of a server: another database may have made them already.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['dialplane_admin', 'dialplane_controller', 'dialplane_agent', 'dialplane_reader']
    LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', role);
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL;
            WHEN insufficient_privilege THEN
                RAISE EXCEPTION 'the role % does not exist and % may not create roles', role, current_user
                    USING HINT = 'Let a database administrator run: CREATE ROLE ' || role || ' NOLOGIN;',
                          ERRCODE = 'insufficient_privilege';
        END;
    END LOOP;
END
$$;

CREATE DOMAIN public.slug AS text
    CONSTRAINT slug_form CHECK (VALUE ~ '^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$');
COMMENT ON DOMAIN public.slug IS
    'Short name: 1 to 32 lower-case letters, digits and inner hyphens. It becomes a DNS label and a dialplan context.';

CREATE DOMAIN public.dns_name AS text
    CONSTRAINT dns_name_form CHECK (
        length(VALUE) <= 253
        AND VALUE ~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$'
    );
COMMENT ON DOMAIN public.dns_name IS 'DNS name in lower case with at least one dot, without the last dot (RFC 1035).';

CREATE DOMAIN public.host AS text
    CONSTRAINT host_form CHECK (
        (length(VALUE) <= 253 AND VALUE ~ '^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?$')
        OR VALUE ~ '^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])$'
    );
COMMENT ON DOMAIN public.host IS 'Where to send SIP: a host name in lower case, or an IPv4 address.';

CREATE DOMAIN public.host_address AS inet
    CONSTRAINT host_address_single CHECK (masklen(VALUE) = CASE family(VALUE) WHEN 4 THEN 32 ELSE 128 END);
COMMENT ON DOMAIN public.host_address IS 'One IPv4 or IPv6 address, no network.';

CREATE DOMAIN public.port AS integer
    CONSTRAINT port_range CHECK (VALUE BETWEEN 1 AND 65535);
COMMENT ON DOMAIN public.port IS 'TCP or UDP port, 1 to 65535.';

CREATE DOMAIN public.weight AS integer
    CONSTRAINT weight_range CHECK (VALUE BETWEEN 1 AND 1000);
COMMENT ON DOMAIN public.weight IS 'Share among equals, 1 to 1000: 20 takes twice the calls of 10.';

CREATE DOMAIN public.priority AS integer
    CONSTRAINT priority_range CHECK (VALUE BETWEEN 0 AND 65535);
COMMENT ON DOMAIN public.priority IS 'Order of trial, 0 to 65535: the lowest first.';

CREATE DOMAIN public.call_limit AS integer
    CONSTRAINT call_limit_range CHECK (VALUE BETWEEN 0 AND 100000);
COMMENT ON DOMAIN public.call_limit IS 'Calls at the same time, 0 to 100000; null: no limit.';

CREATE DOMAIN public.seconds AS integer
    CONSTRAINT seconds_range CHECK (VALUE BETWEEN 1 AND 600);
COMMENT ON DOMAIN public.seconds IS 'Time in seconds, 1 to 600.';

CREATE DOMAIN public.e164 AS text
    CONSTRAINT e164_form CHECK (VALUE ~ '^\+[1-9][0-9]{4,14}$');
COMMENT ON DOMAIN public.e164 IS 'Public telephone number with + and country code, 5 to 15 digits (ITU-T E.164).';

CREATE DOMAIN public.number_prefix AS text
    CONSTRAINT number_prefix_form CHECK (VALUE ~ '^([1-9][0-9]{0,14})?$');
COMMENT ON DOMAIN public.number_prefix IS 'First digits of an E.164 number after the +; the empty text fits every number.';

CREATE DOMAIN public.dialable AS text
    CONSTRAINT dialable_form CHECK (VALUE ~ '^[0-9*]{1,16}$');
COMMENT ON DOMAIN public.dialable IS
    'What a phone dials inside its account: 1 to 16 digits and stars. (# has to be escaped in a SIP URI: not here.)';

CREATE DOMAIN public.mailbox AS text
    CONSTRAINT mailbox_form CHECK (VALUE ~ '^[0-9]{1,16}$');
COMMENT ON DOMAIN public.mailbox IS 'Number of a voicemail box, 1 to 16 digits.';

CREATE DOMAIN public.emergency AS text
    CONSTRAINT emergency_form CHECK (VALUE ~ '^[0-9]{2,6}$');
COMMENT ON DOMAIN public.emergency IS 'Emergency number as dialled, 2 to 6 digits.';

CREATE DOMAIN public.sip_user AS text
    CONSTRAINT sip_user_form CHECK (VALUE ~ '^[a-z0-9][a-z0-9._-]{0,63}$');
COMMENT ON DOMAIN public.sip_user IS
    'User part of an address of record: 1 to 64 lower-case letters, digits, dot, hyphen, underscore.';

CREATE DOMAIN public.auth_name AS text
    CONSTRAINT auth_name_form CHECK (VALUE ~ '^[A-Za-z0-9+][A-Za-z0-9+._@-]{0,127}$');
COMMENT ON DOMAIN public.auth_name IS 'Digest user name or realm that a carrier gave us, 1 to 128 characters.';

CREATE DOMAIN public.ha1_md5 AS text
    CONSTRAINT ha1_md5_form CHECK (VALUE ~ '^[0-9a-f]{32}$');
COMMENT ON DOMAIN public.ha1_md5 IS 'Digest HA1: MD5 of user:realm:password, 32 hex digits (RFC 2617). Never the password.';

CREATE DOMAIN public.ha1_sha256 AS text
    CONSTRAINT ha1_sha256_form CHECK (VALUE ~ '^[0-9a-f]{64}$');
COMMENT ON DOMAIN public.ha1_sha256 IS
    'Digest HA1: SHA-256 of user:realm:password, 64 hex digits (RFC 8760). Never the password.';

CREATE DOMAIN public.pin_digest AS text
    CONSTRAINT pin_digest_form CHECK (VALUE ~ '^[0-9a-f]{40}$');
COMMENT ON DOMAIN public.pin_digest IS 'SHA-1 of mailbox@account:pin, 40 hex digits. Never the PIN.';

CREATE DOMAIN public.label AS text
    CONSTRAINT label_form CHECK (
        VALUE ~ '^[^ ].{0,79}$' AND VALUE !~ ' $'
        AND VALUE !~ '[\u0001-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff;="\\$`{}<>|]'
    );
COMMENT ON DOMAIN public.label IS
    'Text for people, 1 to 80 characters, spaces inside. Not ; = double quotes backslash $ ` { } < > | or control characters.';

CREATE DOMAIN public.word AS text
    CONSTRAINT word_form CHECK (VALUE ~ '^[a-z][a-z0-9-]{0,31}$');
COMMENT ON DOMAIN public.word IS 'One word of lower-case letters, digits and hyphens, 1 to 32 characters.';

CREATE DOMAIN public.country AS text
    CONSTRAINT country_form CHECK (VALUE ~ '^[A-Z]{2}$');
COMMENT ON DOMAIN public.country IS 'Country, two capital letters (ISO 3166-1).';

CREATE DOMAIN public.language AS text
    CONSTRAINT language_form CHECK (VALUE ~ '^[a-z]{2,3}(_[A-Z]{2})?$');
COMMENT ON DOMAIN public.language IS 'Language of announcements as Asterisk names it: de, en, en_GB.';

CREATE DOMAIN public.email AS text
    CONSTRAINT email_form CHECK (
        length(VALUE) <= 254
        AND VALUE ~ '^[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,63}$'
    );
COMMENT ON DOMAIN public.email IS 'E-mail address, user@host.';

CREATE DOMAIN public.step AS text
    CONSTRAINT step_form CHECK (
        VALUE ~ '^(busy|announce|voicemail|hangup|extension:[0-9*]{1,16}|number:\+[1-9][0-9]{4,14})$'
    );
COMMENT ON DOMAIN public.step IS
    'What comes next: busy, announce, voicemail, hangup, extension:102 or number:+49301234567.';
