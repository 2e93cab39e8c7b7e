-- Hunt groups: a member that joins by registering, and may decline the group's number.

ALTER TABLE public.group_members
    ADD COLUMN joins boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT group_members_joins CHECK (NOT joins OR number IS NULL);
COMMENT ON COLUMN public.group_members.joins IS
    'True: it joins by registering. It rings while a device of it is registered, the edge names the numbers of the group '
    'in its answer (P-Associated-URI), and a contact with the parameter decline=<group> in its URI does not ring.';
COMMENT ON CONSTRAINT group_members_joins ON public.group_members IS
    'an outside number registers nowhere: leave joins false, or name a user or device';

CALL control.explain_refusals();
