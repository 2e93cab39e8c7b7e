"""Passwords and PINs of a company file become digests: nothing else of them is stored or shown."""

from __future__ import annotations

import hashlib

from controller.schema.company import Row

# A password or PIN, and the digest columns that are made of it.
MADE_FROM = {"password": ("ha1_md5", "ha1_sha256", "auth_ha1_md5"), "pin": ("pin_digest",)}


def digests_of(row: Row) -> dict[str, str]:
    """Digest columns of the password or PIN of a row."""
    values = row.values
    if values.get("pin") is not None:
        secret = f"{values.get('mailbox') or values['conference']}@{values['account']}:{values['pin']}"
        return {"pin_digest": hashlib.sha1(secret.encode(), usedforsecurity=False).hexdigest()}
    if values.get("password") is None:
        return {}
    if row.table == "trunks":
        secret = f"{values['auth_user']}:{values['auth_realm']}:{values['password']}"
        return {"auth_ha1_md5": hashlib.md5(secret.encode(), usedforsecurity=False).hexdigest()}
    secret = f"{values['name']}:{values['domain']}:{values['password']}"
    return {
        "ha1_md5": hashlib.md5(secret.encode(), usedforsecurity=False).hexdigest(),
        "ha1_sha256": hashlib.sha256(secret.encode()).hexdigest(),
    }
