"""Whose images are whose: the accounts of their owners, as `nodes` knows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.bootserver.images import image_names
from services.bootserver.images.image_names import ImageName
from services.bootserver.images.image_records import ImageRecords
from walt.contracts.errors import NotFound
from walt.contracts.nodes import Owner


class ImageUsers:
    """get_account(user): of a caller, Denied when it has ended; get_accounts(names): the present ones among them;
    check_administrator(user): Denied when he is none."""

    def __init__(
        self,
        records: ImageRecords,
        get_account: Callable[[str], Owner],
        get_accounts: Callable[[Sequence[str]], list[Owner]],
        check_administrator: Callable[[str], None],
    ) -> None:
        self._records = records
        self._get_account = get_account
        self._get_accounts = get_accounts
        self._check_administrator = check_administrator

    def identify(self, user: str) -> str:
        """The name of the caller. From here on the images of that name are those of his present account."""
        self._records.bind(self._get_account(image_names.check_owner(user)))
        return user

    def reconcile(self) -> None:
        """Set aside the images of accounts that have ended; those of an earlier version get the account of the name."""
        known = {owner: self._records.account_of(owner) for owner in self._records.owners()}
        present = {owner.name: owner for owner in self._get_accounts(list(known))}
        for name, account in known.items():
            if self._records.account_of(name) != account:
                continue  # bound meanwhile: newer than the answer
            if not account:
                self._records.bind(self._get_account(name))
            elif name not in present or present[name].account != account:
                self._records.set_aside(name)

    def former(self, user: str) -> list[str]:
        """Full names of the images of accounts that have ended; for administrators."""
        self._check_administrator(user)
        self.reconcile()
        return [str(one.image_name) for one in self._records.all() if image_names.is_set_aside(one.owner)]

    def find_former(self, user: str, text: str) -> ImageName:
        self._check_administrator(user)
        image_name = image_names.parse(text)
        if self._records.find(image_name) is None:
            raise NotFound(f"there is no image '{text}'; list those of former users with: walt image show --former")
        return image_name

    def receiver(self, user: str, text: str) -> ImageName:
        """The new name of an image that this administrator gives: USER/NAME, or NAME for himself."""
        given = image_names.parse(text)
        name = given.owner or user
        if not self._get_accounts([name]):
            raise NotFound(f"no user '{name}'; list the users with: walt user list")
        return image_names.new_name(given.name, self.identify(name))
