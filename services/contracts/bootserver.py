"""bootserver: OS images, boot plans, HTTP, NFS and DNS on walt-net, and "this node has booted".

Public RPC (users):
  get_images() -> [ImageView]                the platform's and the caller's own
  save_image(node, name, force=False) -> job: str    a new image of the caller from the image that the node runs and
                                             what it has changed since; force: in place of one he has under that name
  import_image(reference, name="", force=False) -> job: str    an image of the server's Docker Engine; name "": its own
  open_upload(purpose, image, path="", name="", force=False) -> upload: str    purpose: one of PURPOSES; what can be known
                                             to be wrong is refused at once. FILES become path in the image, or name in
                                             it when that is a directory (name "": their content)
  write_upload(upload, offset, data)         data: base64 of at most PIECE_BYTES; the same piece may come twice
  finish_upload(upload) -> job: str          a tar: a root file system, the folder of a Dockerfile, or files
  open_download(image, path) -> job: str     a tar of what is there, CONTENT or, of a directory, '.'
  read_download(job, offset) -> str          base64 of the next piece; "" at the end
  close_transfer(transfer)                   an upload or download that is not wanted any more; idempotent
  follow_job(job, seen=0) -> JobView         said: the sentences after the first `seen`; the error of a job that failed
  clone_image(image, name, force=False) | rename_image(image, name) -> ImageChanged    another image of the caller's
  remove_image(image, force=False)           the caller's; Conflict while a node uses it
Internal RPC:
  publish_boot(BootRequest) -> BootPlan      idempotent; from then on the node's ssh port is watched
  open_access(node_id) -> NodeAccess         how console logs in to a node
  list_images() -> [ImageView]
  check_image(name, user="") -> ImageView, or NotFound: the image that this user means by that name (NAME: his own,
                                             else the platform's; USER/NAME); its `name` is the full one
  persist_bytes(node_id) -> {owner: int}     who keeps how much in the node's /persist, former owners too
  diagnose() -> [Check]
  list_machines() -> [VmReport]              of the physical nodes, what vmrunner's list_vms is of the virtual ones
Events: NODE_BOOTED (NodeBooted): the node of that run answers on its ssh port; vmrunner and netemu hear it
        NODE_COPYING (NodeCopying): the node of that run still copies its image to its disk; vmrunner hears it
        MACHINE_CHANGED (VmReport): every transition of a physical node;  MACHINE_REMOVED (VmRemoved): one that is
        wanted absent is forgotten; nodes hears both
Hears: nodes NODE_WANTED (names of the nodes, for DNS; boots and ends of physical nodes), NODE_REMOVED
"""

from __future__ import annotations

from dataclasses import dataclass

SERVICE = "bootserver"

NODE_BOOTED = "node_booted"
NODE_COPYING = "node_copying"
MACHINE_CHANGED = "machine_changed"
MACHINE_REMOVED = "machine_removed"

DEFAULT_IMAGE = "default"
MODEL = "pc-x86-64"  # of machine: an image with /boot/pc-x86-64/start.ipxe boots by this script of its own

IMPORT, BUILD, FILES = PURPOSES = ("import", "build", "files")
PIECE_BYTES = 2**20
CONTENT = "it"  # the name, in a tar of FILES, of what is sent
COMPLETE = "complete"  # an empty file after it: what lacks it was cut off


@dataclass(frozen=True)
class BootRequest:
    """One boot of one node. run: vmrunner's count of power-ons, given back in NodeBooted."""

    node_id: int
    name: str
    run: int
    mac: str
    ip: str
    image: str
    cpu_cores: int
    owner: str = ""  # whose /persist the node mounts; "": none
    is_virtual: bool = True


@dataclass(frozen=True)
class BootPlan:
    """script_url: an iPXE script; the rest is what a DHCP answer gives it (${ip}, ${netmask}, ${next-server}, …)."""

    script_url: str
    ip: str
    netmask: str
    gateway: str
    server: str


@dataclass(frozen=True)
class NodeBooted:
    node_id: int
    run: int
    at: float


@dataclass(frozen=True)
class NodeCopying:
    node_id: int
    run: int


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


@dataclass(frozen=True)
class ImageChanged:
    """notes: sentences for the user; used_by: the caller's nodes that boot this image, and see the change at their next
    boot."""

    image: ImageView
    notes: tuple[str, ...] = ()
    used_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class JobView:
    """A long piece of work, as far as it is. changed: what has come of it, None of a download or while it is not done."""

    done: bool
    said: tuple[str, ...] = ()
    changed: ImageChanged | None = None
