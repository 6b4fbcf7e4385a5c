"""bootserver: OS images, boot plans, HTTP and DNS on walt-net, disks of machines, and "this node has booted".

Public RPC (users):
  get_images(former=False) -> [ImageView]
      the platform's and the caller's own; former: those of accounts that have ended, for administrators
  save_image(node, name, force=False) -> job: str
      a new image of the caller: the image that the node runs with what the node has changed; force: replace one of
      the same name
  import_image(reference, name="", force=False) -> job: str
      an image of the server's Docker Engine; name "": that of the reference
  open_upload(purpose, image, path="", name="", force=False) -> upload: str
      purpose: one of PURPOSES. FILES become `path` in the image, or `name` in it when that is a directory (name "": the
      content of the directory that is sent)
  write_upload(upload, offset, data)
      data: base64 of at most PIECE_BYTES; the same piece may be sent twice
  finish_upload(upload) -> job: str
      what was sent is a tar: a root file system, the context folder of a Dockerfile, or files
  open_download(image, path) -> job: str
      a tar with the file as CONTENT or, of a directory, '.'
  read_download(job, offset) -> str
      base64 of the next piece; "" at the end
  close_transfer(transfer)
      abandons an upload or download; idempotent
  follow_job(job, seen=0) -> JobView
      output: the lines after the first `seen`; raises the error of a job that failed
  clone_image(image, name, force=False) | rename_image(image, name) -> ImageChanged
      another image of the caller; an administrator renames USER~ACCOUNT/NAME, of an account that has ended, to
      USER/NAME
  remove_image(image, force=False)
      the caller's, or of an account that has ended; Conflict while a node uses it
Internal RPC (publish_boot, open_access, drop_persist_folder: also agents of a further host, for its nodes):
  publish_boot(BootRequest) -> BootPlan
      idempotent; from then on the node's ssh port is watched
  open_access(node_id) -> NodeAccess
      how console logs in to a node
  check_image(name, user="", account="") -> ImageView
      the image that this user means by that name (NAME: the user's own, else the platform's; or USER/NAME), with its
      full name; or NotFound
  count_images(user, account) -> ImageUse
      of this account
  persist_bytes(node_id) -> {owner: int}
      bytes by owner, former owners too, of what is here: the disks of physical nodes, and folders of versions before
  drop_persist_folder(node_id, owner, account)
      vmrunner has its content on a disk; idempotent
  get_addresses(node_ids) -> [SetAddresses]
      of those that have booted, on each interface that is to have addresses or was given some
  diagnose() -> [Check]
  list_machines() -> [VmReport]
      of the physical nodes, as vmrunner's list_vms is of the virtual ones
Events: NODE_BOOTED (NodeBooted): the node of that run answers on its ssh port; vmrunner and netemu hear it
        NODE_REACHABLE (NodeReachable): a booted virtual node stops or begins again to answer; vmrunner hears it
        NODE_COPYING (NodeCopying): the node of that run is still copying its image to its disk; vmrunner hears it
        MACHINE_CHANGED (VmReport): every transition of a physical node;  MACHINE_REMOVED (VmRemoved): one that is
        wanted absent is forgotten; nodes hears both
Hears: nodes NODE_WANTED (names for DNS; addresses of running nodes; boots and power-offs of physical nodes),
       NODE_REMOVED, HOSTS_CHANGED
"""

from __future__ import annotations

from dataclasses import dataclass

from walt.contracts.disks import DEFAULT_PERSIST_BYTES
from walt.contracts.nodes import WALT_NET_ID, NodeWanted

SERVICE = "bootserver"

NODE_BOOTED = "node_booted"
NODE_COPYING = "node_copying"
NODE_REACHABLE = "node_reachable"
MACHINE_CHANGED = "machine_changed"
MACHINE_REMOVED = "machine_removed"

DEFAULT_IMAGE = "default"
NO_KERNEL = "none"  # begins ImageView.kernel of an image that is damaged
MODEL = "pc-x86-64"  # an image with /boot/pc-x86-64/start.ipxe boots by that script of its own

IMPORT, BUILD, FILES = PURPOSES = ("import", "build", "files")
PIECE_BYTES = 2**20
CONTENT = "content"  # the name, in a tar of FILES, of the file or directory that is sent
COMPLETE = "complete"  # an empty file after it; without it, the tar was cut off


@dataclass(frozen=True)
class BootInterface:
    """One on a network of the node's owner. network: its name, of a lab's without that of the lab; addresses: with
    their prefixes."""

    slot: int
    network: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class BootRequest:
    """One boot of one node. run: the count of its power-ons, which NodeBooted repeats."""

    node_id: int
    name: str
    run: int
    mac: str
    ip: str
    image: str
    owner: str = ""  # whose /persist the node mounts; "": none
    is_virtual: bool = True
    machine_id: str = ""  # 32 hex digits; "" from a vmrunner of the version before: that of the image
    owner_account: str = ""  # (NodeWanted.owner_account)
    persist_is_disk: bool = False  # vmrunner gives it a disk for /persist
    interfaces: tuple[BootInterface, ...] = ()  # on networks of its owner
    persist_bytes: int = DEFAULT_PERSIST_BYTES

    @property
    def has_network_disk(self) -> bool:
        """Whether its /persist is a disk that bootserver's disk server gives to its MAC address."""
        return bool(self.owner and self.owner_account) and not self.is_virtual

    @classmethod
    def of(cls, spec: NodeWanted, run: int, persist_is_disk: bool = False) -> BootRequest:
        return cls(
            node_id=spec.id,
            name=spec.name,
            run=run,
            mac=spec.walt_net.mac,
            ip=spec.ip,
            image=spec.image,
            owner=spec.owner,
            is_virtual=spec.is_virtual,
            machine_id=spec.machine_uuid.hex,
            owner_account=spec.owner_account,
            persist_is_disk=persist_is_disk,
            persist_bytes=spec.persist_bytes,
            interfaces=interfaces_of(spec),
        )

    def is_of(self, spec: NodeWanted) -> bool:
        """Whether who is served by it, and what, is as the spec has it."""
        of_spec = BootRequest.of(spec, self.run)
        names = ("node_id", "mac", "ip", "image", "owner", "owner_account", "is_virtual")
        return all(getattr(self, name) == getattr(of_spec, name) for name in names)


def interfaces_of(spec: NodeWanted) -> tuple[BootInterface, ...]:
    """Those on networks of its owner."""
    own = [one for one in spec.interfaces if one.network.id != WALT_NET_ID]
    return tuple(BootInterface(one.slot, one.network.label, one.addresses) for one in own)


@dataclass(frozen=True)
class SetAddresses:
    """What the booted system of a node was given on one of its interfaces. addresses: with their prefixes, None where
    that is not known at the moment; reason: why they are not those asked for, "" if they are."""

    node_id: int
    mac: str
    addresses: tuple[str, ...] | None
    reason: str = ""


@dataclass(frozen=True)
class BootPlan:
    """script_url: of an iPXE script; the rest are its variables that DHCP would set (${ip}, ${netmask}, …).

    persist_folder: in which a version before kept the owner's /persist, for vmrunner to take over, relative to that of
    all; "": there is none; None: a bootserver of the version before, by which the node mounts that folder."""

    script_url: str
    ip: str
    netmask: str
    gateway: str
    server: str
    persist_folder: str | None = None


@dataclass(frozen=True)
class NodeBooted:
    """at: epoch seconds; ip: where it answered; "" from a bootserver of the version before."""

    node_id: int
    run: int
    at: float
    ip: str = ""


@dataclass(frozen=True)
class NodeReachable:
    """Whether the booted node of that run answers on walt-net, seen from the server; since: epoch seconds."""

    node_id: int
    run: int
    answers: bool
    since: float


@dataclass(frozen=True)
class NodeCopying:
    node_id: int
    run: int


@dataclass(frozen=True)
class ImageUse:
    """How many images a user has, and their sizes together."""

    images: int
    image_bytes: int


@dataclass(frozen=True)
class NodeAccess:
    """ssh access: private_key in OpenSSH text, host_key as one `ssh-ed25519 AAAA…` for known_hosts."""

    ip: str
    user: str
    private_key: str
    host_key: str


@dataclass(frozen=True)
class ImageView:
    name: str
    owner: str  # "" for the platform's own
    created: float
    size_bytes: int
    kernel: str
    lacks: tuple[str, ...] = ()  # of the modules that experiments commonly wish for, those that the kernel lacks


@dataclass(frozen=True)
class ImageChanged:
    """notes: sentences for the user; used_by: names of the caller's nodes that boot this image, and will see the change
    at their next boot."""

    image: ImageView
    notes: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobView:
    """A job so far. output: its lines for the user; changed: its result, None for a download and until it is done."""

    done: bool
    output: tuple[str, ...] = ()
    changed: ImageChanged | None = None
