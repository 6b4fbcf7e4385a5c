"""What is kept of the boots, each in its own store: images, plans, keys, and what nodes may mount."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.bootserver.access import KeyStore
from services.bootserver.images import ImageStore
from services.bootserver.persist import PersistStore
from services.bootserver.plans import PlanStore


@dataclass(frozen=True)
class Stores:
    images: ImageStore
    plans: PlanStore
    keys: KeyStore
    persist: PersistStore


def stores(images: ImageStore, state: Path) -> Stores:
    return Stores(images, PlanStore(state / "plans"), KeyStore(state / "keys"), PersistStore(state))
