"""The packet filter of this network namespace, by way of `nft`."""

from __future__ import annotations

from services.kit.subprocesses import run


def apply(commands: str) -> None:
    """All of the commands take effect, in one step, or none does: Failed."""
    run(["nft", "-f", "-"], stdin=commands)


def read(*words: str) -> str:
    """JSON: what is listed."""
    return run(["nft", "--json", *words])
