"""How processes that live long hold a connection to PostgreSQL: a server gone without a word is noticed in 11 s."""

from __future__ import annotations

from typing import Any

CONNECT_TIMEOUT_S = 5
# Arguments of psycopg's connect().
HELD: dict[str, Any] = {
    "autocommit": True,
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
