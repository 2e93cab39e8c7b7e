-- Busy lamps: whether phones of an account may watch its extensions.

ALTER TABLE public.accounts ADD COLUMN lamps boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN public.accounts.lamps IS
    'True: phones of the account may watch its extensions, and are told when somebody rings, talks, and has finished.';

CALL control.explain_refusals();
