"""Fraud: what happened -> indicators in windows -> verdicts, with reasons. Nothing is enforced here.

Pure but for `store.py`; times are Unix seconds, `now` is an argument.
"""
