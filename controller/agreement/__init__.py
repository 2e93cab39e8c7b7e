"""Do rows, what is published, edges' memory, media nodes and name servers agree about every account?

`compare.py` decides (pure), `digests.py` makes tables comparable without reading them key by key (pure), `store.py`
reads the database, `names.py` asks name servers, `look.py` puts it together and asks agents. `dialplane verify` does
all of it, the controller every `reconciler.AGREE_S` what needs no question to anybody.
"""
