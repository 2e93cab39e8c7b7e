"""Characteristics of a call to a decision, with a reason for each step. Pure."""
