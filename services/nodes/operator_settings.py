"""What the operator sets for users, from texts of the environment; SystemExit with what is allowed."""

from __future__ import annotations

from services.nodes.domain.network_addresses import POOLS_RULE, parse_pools
from services.nodes.domain.ownership import Takeover, Watchers, parse_takeover, parse_watchers
from walt.contracts.errors import InvalidRequest
from walt.contracts.limits import UserLimits, parse_limits
from walt.contracts.port_addresses import Subnet


def watchers(text: str) -> Watchers:
    try:
        return parse_watchers(text)
    except ValueError as allowed:
        raise SystemExit(str(allowed)) from None


def user_limits(text: str) -> UserLimits:
    try:
        return parse_limits(text)
    except InvalidRequest as refused:
        raise SystemExit(f"WALT_USER_LIMITS={text}: {refused}") from None


def network_pools(text: str) -> tuple[Subnet, ...]:
    try:
        return parse_pools(text)
    except ValueError:
        raise SystemExit(f"WALT_NETWORK_POOLS={text}: allowed: {POOLS_RULE}") from None


def takeover(text: str) -> Takeover:
    try:
        return parse_takeover(text)
    except ValueError as allowed:
        raise SystemExit(str(allowed)) from None
