"""Fraud: what happened -> indicators in windows -> verdicts, with reasons. Nothing is enforced here.

Pure but for `store.py`, `feed.py` and the process `serve.py`; times are Unix seconds, `now` is an argument.
"""
