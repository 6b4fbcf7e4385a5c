"""Menus of boot scripts: `menu`, `item` and `choose`. Nobody sits at a node while it boots: a menu is printed, and its
default is chosen at once. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.vmrunner.boot.script_values import SHOWN_CHARS, listed
from walt.contracts.errors import Failed

MAX_ITEMS = 200


@dataclass
class Menu:
    """items: label and text; a gap has the label ""."""

    title: str
    items: list[tuple[str, str]] = field(default_factory=list)
    default: str = ""

    def add(self, arguments: list[str]) -> None:
        """The arguments of `item`."""
        options, words = split_options(arguments, ("--menu", "-m", "--key", "-k"))
        if len(self.items) >= MAX_ITEMS:
            raise Failed(f"a menu of more than {MAX_ITEMS} items")
        if not words or {"--gap", "-g"} & options.keys():
            self.items.append(("", " ".join(words)))
            return
        label, *text = words
        self.items.append((label, " ".join(text)))
        if {"--default", "-d"} & options.keys():
            self.default = label

    def chosen(self, default: str) -> str:
        """The label of the default of `choose`, else that of the menu, else the first. Failed where there is none."""
        labels = [label for label, _ in self.items if label]
        chosen = default or self.default or next(iter(labels), "")
        if chosen not in labels:
            raise Failed(f"the menu has no item '{chosen[:SHOWN_CHARS]}'; allowed: {listed(labels)}")
        return chosen

    def lines(self) -> list[str]:
        return [self.title, *(f"  {label:<12} {text}".rstrip() if label else f"  {text}" for label, text in self.items)]


def split_options(arguments: list[str], with_value: tuple[str, ...]) -> tuple[dict[str, str], list[str]]:
    """The options before the other words, with their values; "--" ends them."""
    options: dict[str, str] = {}
    words = list(arguments)
    while words and words[0].startswith("-"):
        name = words.pop(0)
        if name == "--":
            break
        options[name] = words.pop(0) if name in with_value and words else ""
    return options, words
