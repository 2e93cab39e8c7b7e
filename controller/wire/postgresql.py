"""How a connection to PostgreSQL is held: each side notices within 11 s that the other is gone without a word.

The server's side matters as well: a session lock (the active controller's) is free only when the server knows that who
held it is gone.
"""

from __future__ import annotations

import os
from typing import Any

from psycopg.conninfo import conninfo_to_dict

# The client's side: arguments of psycopg's connect().
_CLIENT: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
# The server's side: settings of the session. Through a Unix socket they mean nothing and do no harm.
_SESSION = "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10000"


def held(conninfo: str) -> dict[str, Any]:
    """Arguments of psycopg's connect() for that address: both sides. What it (or PGOPTIONS) says itself stays."""
    own = conninfo_to_dict(conninfo)
    options = own.get("options") or os.environ.get("PGOPTIONS", "")
    return {name: value for name, value in _CLIENT.items() if name not in own} | {
        "options": f"{_SESSION} {options}".strip()
    }
