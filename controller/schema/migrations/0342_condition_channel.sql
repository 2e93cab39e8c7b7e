-- Who keeps answers of a name server hears when a media node takes calls or no more, or another share of them.

CREATE FUNCTION control.tell_condition() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('dialplane_condition', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.tell_condition IS
    'Channel dialplane_condition: what name servers answer changed without a row that people edit.';
CREATE TRIGGER tell_condition AFTER INSERT OR UPDATE OR DELETE ON control.node_condition
    FOR EACH STATEMENT EXECUTE FUNCTION control.tell_condition();

CALL control.explain_refusals();
