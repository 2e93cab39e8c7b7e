"""Fraud: what happened -> indicators in windows -> verdicts, with reasons -> incidents, and what follows.

Pure but for `store.py`, `feed.py`, `serve.py` (the process), `enforce.py`, `incidents.py` and `nodes.py`; times are
Unix seconds, `now` is an argument.
"""
