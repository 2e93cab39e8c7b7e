"""Phones fetch their configuration: with a token of their own, which is not their password, they get the password."""
