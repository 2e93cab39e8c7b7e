-- Passwords and PINs become digests here; no row, audit or error message ever holds them.

CREATE FUNCTION control.sha1(message bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    full_word constant bigint := 4294967295;
    padded constant bytea := message || '\x80'::bytea
        || decode(repeat('00', (119 - length(message) % 64) % 64), 'hex') || int8send(length(message) * 8::bigint);
    state bigint[] := ARRAY[1732584193, 4023233417, 2562383102, 271733878, 3285377520];
    words bigint[];
    a bigint; b bigint; c bigint; d bigint; e bigint;
    mixed bigint;
    mark bigint;
BEGIN
    FOR block IN 0 .. length(padded) / 64 - 1 LOOP
        FOR i IN 0 .. 15 LOOP
            words[i] := (get_byte(padded, block * 64 + i * 4)::bigint << 24)
                | (get_byte(padded, block * 64 + i * 4 + 1) << 16)
                | (get_byte(padded, block * 64 + i * 4 + 2) << 8)
                | get_byte(padded, block * 64 + i * 4 + 3);
        END LOOP;
        FOR i IN 16 .. 79 LOOP
            mixed := words[i - 3] # words[i - 8] # words[i - 14] # words[i - 16];
            words[i] := ((mixed << 1) | (mixed >> 31)) & full_word;
        END LOOP;
        a := state[1]; b := state[2]; c := state[3]; d := state[4]; e := state[5];
        FOR i IN 0 .. 79 LOOP
            IF i < 20 THEN
                mixed := (b & c) | ((full_word # b) & d); mark := 1518500249;
            ELSIF i < 40 THEN
                mixed := b # c # d; mark := 1859775393;
            ELSIF i < 60 THEN
                mixed := (b & c) | (b & d) | (c & d); mark := 2400959708;
            ELSE
                mixed := b # c # d; mark := 3395469782;
            END IF;
            mixed := ((((a << 5) | (a >> 27)) & full_word) + mixed + e + mark + words[i]) & full_word;
            e := d; d := c; c := ((b << 30) | (b >> 2)) & full_word; b := a; a := mixed;
        END LOOP;
        state := ARRAY[(state[1] + a) & full_word, (state[2] + b) & full_word, (state[3] + c) & full_word,
                       (state[4] + d) & full_word, (state[5] + e) & full_word];
    END LOOP;
    RETURN (SELECT string_agg(lpad(to_hex(part), 8, '0'), '' ORDER BY position)
            FROM unnest(state) WITH ORDINALITY AS s (part, position));
END
$$;
COMMENT ON FUNCTION control.sha1 IS
    'SHA-1 in hex (FIPS 180-4). PostgreSQL has none without an extension, and Asterisk''s dialplan can compute it.';

CREATE FUNCTION control.check_password(password text, holder text) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF password IS NULL OR length(password) NOT BETWEEN 8 AND 128 OR password ~ '[\u0001-\u001f\u007f-\u009f]' THEN
        RAISE EXCEPTION 'the password for % cannot be used', holder
            USING ERRCODE = 'invalid_password', HINT = 'Take 8 to 128 characters, none of them a control character.';
    END IF;
END
$$;
COMMENT ON FUNCTION control.check_password IS 'Refuses a password that is too short, too long or not printable.';

CREATE FUNCTION public.set_device_password(device_aor text, password text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    device_name constant text := split_part(device_aor, '@', 1);
    realm constant text := split_part(device_aor, '@', 2);
    credential constant text := device_name || ':' || realm || ':' || password;
BEGIN
    PERFORM control.check_password(password, 'device ' || device_aor);
    UPDATE public.devices AS d
    SET ha1_md5 = md5(credential), ha1_sha256 = encode(sha256(convert_to(credential, 'UTF8')), 'hex')
    FROM public.domains AS m
    WHERE m.id = d.domain_id AND d.name = device_name AND m.name = realm;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'device % does not exist', device_aor
            USING ERRCODE = 'no_data_found', HINT = 'Write it as name@domain, as in the tables devices and domains.';
    END IF;
END
$$;
COMMENT ON FUNCTION public.set_device_password IS
    'Sets the password of a device, given as name@domain. Only its digests are kept.';

CREATE FUNCTION public.set_trunk_password(trunk text, auth_user text, auth_realm text, password text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF password IS NULL OR password = '' THEN
        RAISE EXCEPTION 'the password for trunk % is empty', trunk
            USING ERRCODE = 'invalid_password', HINT = 'Take the one the carrier gave you.';
    END IF;
    UPDATE public.trunks AS t
    SET auth_user = set_trunk_password.auth_user, auth_realm = set_trunk_password.auth_realm,
        auth_ha1_md5 = md5(set_trunk_password.auth_user || ':' || set_trunk_password.auth_realm || ':' || password)
    WHERE t.name = trunk;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'trunk % does not exist', trunk
            USING ERRCODE = 'no_data_found', HINT = 'Create it first, without auth_user.';
    END IF;
END
$$;
COMMENT ON FUNCTION public.set_trunk_password IS
    'Sets how we sign in at a trunk: digest user, realm and password. Only the digest is kept.';

CREATE FUNCTION public.set_mailbox_pin(mailbox text, account text, pin text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
BEGIN
    IF pin !~ '^[0-9]{4,10}$' THEN
        RAISE EXCEPTION 'the PIN for mailbox %@% cannot be used', mailbox, account
            USING ERRCODE = 'invalid_password', HINT = 'Take 4 to 10 digits.';
    END IF;
    UPDATE public.voicemail_boxes AS b
    SET pin_digest = control.sha1(convert_to(mailbox || '@' || account || ':' || pin, 'UTF8'))
    FROM public.accounts AS a
    WHERE a.id = b.account_id AND a.name = account AND b.mailbox = set_mailbox_pin.mailbox;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'mailbox % of account % does not exist', mailbox, account
            USING ERRCODE = 'no_data_found', HINT = 'See the table voicemail_boxes.';
    END IF;
END
$$;
COMMENT ON FUNCTION public.set_mailbox_pin IS
    'Sets the PIN of a mailbox; null: only the devices of its user may listen. Only a digest is kept.';
