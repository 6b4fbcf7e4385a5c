"""The parts of bootserver that save a node as an image, for one node that has booted; ssh is left out."""

from __future__ import annotations

import shutil

from services.bootserver.boot.boot_records import BootRecord
from services.bootserver.images.catalogue import Catalogue
from services.bootserver.images.image_limits import ImageLimits
from services.bootserver.images.image_records import RECORDS, ImageRecords
from services.bootserver.images.image_users import ImageUsers
from services.bootserver.images.save_node import NodeSaver, RunningNodes
from services.bootserver.images.staging import Staging
from services.bootserver.images.store import ImageStore
from walt.contracts import nodes
from walt.contracts.bootserver import BootRequest, NodeAccess
from walt.contracts.errors import NotOwner
from walt.contracts.limits import UNLIMITED
from walt.contracts.nodes import NodeTarget, Owner
from walt.contracts.vmrunner import BOOTED

REQUEST = BootRequest(7, "vnode1", 3, "52:54:00:00:00:07", "192.168.172.10", "default")
TARGET = NodeTarget(7, "vnode1", "alice", "lab", "192.168.172.10", BOOTED)
ACCESS = NodeAccess("192.168.172.10", "root", "key", "ssh-ed25519 AAAA")


class RunningNode:
    """What bootserver knows of one node that has booted."""

    def __init__(self):
        self.running = BootRecord(REQUEST, 1.0, 2.0, "base")

    def boot_of(self, node_id):
        return self.running.request.run, self.running.folder

    def folders(self):
        return {self.running.folder}


class ImmediateJobs:
    """Each job is done when it is started."""

    def start(self, user, work):
        self.changed = work(lambda line: None)


class Saving:
    """changes_tar: what the node sends when it is asked for its changes."""

    def __init__(self, folder, changes_tar):
        self.folder = folder
        self.tar = changes_tar
        self.target = TARGET
        self.restart()

    def restart(self):
        records = ImageRecords(self.folder / "images", "users")
        self.images = ImageStore(self.folder / "images", {"default": "base"}, records, self.folder / "cache")
        self.node = RunningNode()
        self.staging = Staging(self.images, ImageLimits(self.images, lambda user: UNLIMITED), self.node.folders)
        self.jobs = ImmediateJobs()
        users = ImageUsers(records, lambda user: Owner(user, f"{user}01"), lambda names: [], lambda user: None)
        catalogue = Catalogue(self.images, self.staging, users, lambda: [])
        running = RunningNodes(self.authorize, self.node.boot_of, lambda node_id: ACCESS)
        self.saver = NodeSaver(self.images.folder, self.staging, catalogue, self.jobs, running)

    def authorize(self, user, node, action):
        assert action == nodes.SAVE
        if user != self.target.owner:
            raise NotOwner(f"{node} is not {user}'s")
        return self.target

    def fetch(self, source, folder):
        shutil.copy(self.tar, folder / "changes.tar")

    def save(self, name, force=False, user="alice"):
        self.saver.save(user, "vnode1", name, force)
        return self.jobs.changed.image

    def users_folders(self):
        return sorted(path.name for path in (self.folder / "images/users").iterdir() if path.name != RECORDS)
