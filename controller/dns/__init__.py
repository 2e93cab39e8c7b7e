"""Names of accounts in DNS: what the rows say (`names.py`), against what name servers answer (`compare.py`).

Name servers themselves read schema `dns` of the database (migration 0302_dns.sql), which says the same in SQL: what is
compared comes from two sources.
"""
