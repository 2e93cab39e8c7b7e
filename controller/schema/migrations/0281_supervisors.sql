-- Supervisors of a queue listen to its talks, speak to the member alone, or to both.

ALTER TABLE public.queues
    ADD COLUMN supervisor_group_id bigint,
    ADD CONSTRAINT queues_supervisor_group_fkey FOREIGN KEY (account_id, supervisor_group_id)
        REFERENCES public.groups (account_id, id);
CREATE INDEX queues_supervisor_group ON public.queues (account_id, supervisor_group_id)
    WHERE supervisor_group_id IS NOT NULL;
COMMENT ON COLUMN public.queues.supervisor_group_id IS
    'Group whose users may listen in (extensions of kind supervise); null: nobody.';

ALTER TABLE public.extensions
    DROP CONSTRAINT extensions_kind,
    ADD CONSTRAINT extensions_kind CHECK (
        kind IN ('user', 'voicemail', 'voicemail_main', 'echo', 'announcement', 'number', 'policy', 'group', 'menu',
                 'queue', 'conference', 'pickup', 'park', 'page', 'membership', 'supervise')
    ),
    DROP CONSTRAINT extensions_queue,
    ADD CONSTRAINT extensions_queue CHECK ((kind IN ('queue', 'supervise')) = (queue_id IS NOT NULL));
COMMENT ON COLUMN public.extensions.kind IS
    'user: ring the devices of a user; voicemail: leave a message; voicemail_main: listen to messages; echo: echo '
    'test; announcement: play one; number: call an outside number; policy: let its rules decide; group: ring its members; '
    'menu: a voice menu; queue: wait for a member; conference: go there; pickup: take a call that rings somewhere in the '
    'account, or with an extension dialled right behind (*8101) one that rings there; park: wait in a parking lot; page: '
    'speak from the telephones of a group; membership: a member who dials it leaves the group, or joins it again; '
    'supervise: listen in to talks of a queue.';
COMMENT ON CONSTRAINT extensions_kind ON public.extensions IS
    'choose user, voicemail, voicemail_main, echo, announcement, number, policy, group, menu, queue, conference, pickup, '
    'park, page, membership or supervise';
COMMENT ON COLUMN public.extensions.queue_id IS 'Queue, for kinds queue and supervise; null otherwise.';
COMMENT ON CONSTRAINT extensions_queue ON public.extensions IS
    'kinds queue and supervise need a queue, and only they have one: set or clear queue_id, or choose another kind';

CALL control.explain_refusals();
