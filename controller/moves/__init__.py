"""Accounts that move from one cluster to another: add, move, wait, drain, remove, and the same way back.

`model` has the shapes, `decide` what comes next (both pure, `say` the words), `store` the SQL, `steps` publishes.
"""
