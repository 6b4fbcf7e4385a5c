"""Images belong to an account, not to its name."""

from __future__ import annotations

import pytest

from services.bootserver.images.image_names import ImageName
from services.bootserver.images.image_records import ImageRecord, ImageRecords
from services.bootserver.images.image_users import ImageUsers
from services.bootserver.images.store import ImageStore
from walt.contracts.errors import Denied, NotFound
from walt.contracts.nodes import Owner

FIRST, SECOND = "1" * 32, "2" * 32
MINE = ImageName("bob", "mine")


class Platform:
    """present: {name: account}, as `nodes` knows them."""

    def __init__(self, folder):
        self.present = {"bob": FIRST, "ada": "a" * 32}
        self.records = ImageRecords(folder, "users")
        self.images = ImageStore(folder, {"default": "debian-1"}, self.records, folder / "cache")
        self.users = ImageUsers(self.records, self.get_account, self.get_accounts, self.check_administrator)

    def get_account(self, user):
        if user not in self.present:
            raise Denied("removed")
        return Owner(user, self.present[user])

    def get_accounts(self, names):
        return [self.get_account(name) for name in names if name in self.present]

    def check_administrator(self, user):
        if user != "ada":
            raise Denied("no administrator")

    def put(self, owner="bob", name="mine"):
        self.records.put(ImageRecord(owner, name, "users/0f", 1.0))

    def names(self):
        return [str(one.image_name) for one in self.records.all()]


@pytest.fixture
def platform(tmp_path):
    return Platform(tmp_path)


def test_fault_s32_images_of_a_removed_user_are_not_those_of_the_next(platform):
    platform.users.identify("bob")
    platform.put()
    platform.present["bob"] = SECOND
    platform.users.identify("bob")
    assert platform.records.find(MINE) is None
    assert platform.images.names_for("bob") == ["default"]
    assert platform.users.former("ada") == [f"bob~{FIRST[:12]}/mine"]
    with pytest.raises(Denied):
        platform.users.former("bob")
    with pytest.raises(Denied, match="would be bob~111111111111's"):
        platform.images.resolve(f"bob~{FIRST[:12]}/mine", "bob")


def test_fault_s32_nodes_boot_images_of_the_account_that_owns_them(platform):
    platform.users.identify("bob")
    platform.put()
    for owner in (Owner("bob", SECOND), Owner("bob"), Owner("eve", FIRST), Owner("")):
        with pytest.raises(NotFound, match="there is no image 'bob/mine' of this account"):
            platform.images.find_for("bob/mine", owner)


def test_late_answer_about_a_former_account_loses_nothing(platform):
    platform.users.identify("bob")
    platform.put()
    platform.records.bind(Owner("bob", SECOND))
    platform.put(name="new")
    platform.records.bind(Owner("bob", FIRST))  # late
    assert platform.names() == ["bob/mine", f"bob~{SECOND[:12]}/new"]
    platform.records.bind(Owner("bob", SECOND))
    assert platform.names() == ["bob/new", f"bob~{FIRST[:12]}/mine"]


def test_images_of_an_earlier_version_get_the_account_of_their_owners(platform):
    platform.put()
    platform.users.reconcile()
    assert platform.records.account_of("bob") == FIRST and platform.names() == ["bob/mine"]
    del platform.present["bob"]
    platform.users.reconcile()
    assert platform.names() == [f"bob~{FIRST[:12]}/mine"]


def test_account_that_is_bound_while_others_are_looked_up_stays(platform):
    platform.users.identify("bob")

    def late(names):
        platform.records.bind(Owner("bob", SECOND))
        return []

    ImageUsers(platform.records, platform.get_account, late, platform.check_administrator).reconcile()
    assert platform.records.account_of("bob") == SECOND


@pytest.mark.parametrize("user", ["", "..", "a/b", "bob~1111"])
def test_user_whose_name_is_none_of_a_folder_is_denied(platform, user):
    platform.present[user] = FIRST
    with pytest.raises(Denied, match="cannot have images"):
        platform.users.identify(user)
