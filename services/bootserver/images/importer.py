"""New images from root file systems: from the Docker Engine, from a user's computer, built by a Dockerfile; and images
into which files are copied. Each is a job (`jobs.py`) that a command follows."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from services.bootserver.docker_images import protocol as docker_images
from services.bootserver.docker_images import references
from services.bootserver.docker_images.docker_sources import DockerSources
from services.bootserver.image_kernel import chroot_paths
from services.bootserver.images import image_names
from services.bootserver.images.catalogue import Catalogue
from services.bootserver.images.image_names import ImageName
from services.bootserver.images.jobs import Jobs, Progress
from services.bootserver.images.staging import TREE, Staging
from services.bootserver.images.store import ImageStore
from services.bootserver.images.transfers import Transfer, Transfers
from services.bootserver.workers import disk_reserve
from services.bootserver.workers.unpack_rootfs import NO_LIMIT
from services.bootserver.workers.worker import run_worker
from walt.contracts.bootserver import BUILD, FILES, IMPORT, PURPOSES, ImageChanged
from walt.contracts.errors import Failed, InvalidRequest

LIMIT_S = 1800
PATH_BYTES = 4096  # PATH_MAX

Check = Callable[[Path], None]  # of the tree
Fill = Callable[[Path], Path]  # the tar of a root file system, made in this staging folder or elsewhere


class ImageImporter:
    """docker_socket: of the process `docker_images`."""

    def __init__(
        self,
        images: ImageStore,
        staging: Staging,
        catalogue: Catalogue,
        jobs: Jobs,
        transfers: Transfers,
        sources: DockerSources,
        docker_socket: Path,
    ) -> None:
        self._images = images
        self._sources = sources
        self._docker_socket = docker_socket
        self._staging = staging
        self._catalogue = catalogue
        self._jobs = jobs
        self._transfers = transfers

    def import_image(self, user: str, reference: str, name: str, force: bool) -> str:
        references.check(reference)
        self._sources.check_reference(reference)
        image_name = self._check_new(user, name or image_names.from_reference(reference), force)
        return self._jobs.start(user, lambda progress: self._import(image_name, force, reference, progress))

    def open_upload(self, user: str, purpose: str, image: str, path: str, name: str, force: bool) -> str:
        if purpose not in PURPOSES:
            raise InvalidRequest(f"'{purpose}' is not a purpose of an upload; allowed: {', '.join(PURPOSES)}")
        if purpose == BUILD:
            self._sources.check_build()
        if purpose == FILES:
            self._catalogue.find_owned(image, user)
            _check_path(path)
            _check_file_name(name)
        else:
            self._check_new(user, image, force)
        return self._transfers.open(user, purpose, image, path, name, force).id

    def finish_upload(self, user: str, upload: str) -> str:
        if self._jobs.knows(user, upload):
            return upload
        transfer = self._transfers.find(user, upload)
        work = {IMPORT: self._import_tar, BUILD: self._build, FILES: self._copy_in}[transfer.purpose]

        def use_up(progress: Progress) -> ImageChanged:
            try:
                return work(transfer, progress)
            finally:
                transfer.file.unlink(missing_ok=True)

        job = self._jobs.start(user, use_up, upload)
        self._transfers.hand_over(transfer)
        return job

    def open_download(self, user: str, image: str, path: str) -> str:
        source = self._images.resolve(image, user)
        _check_path(path)
        transfer = self._transfers.open(user, "download", image, path)

        def copy_out(progress: Progress) -> None:
            try:
                with self._staging.keep(source.folder):
                    run_worker("copy_out", source.tree, path, transfer.file, on_line=progress, timeout=LIMIT_S)
            except BaseException:
                self._transfers.drop(transfer)
                raise

        return self._jobs.start(user, copy_out, transfer.id)

    def _check_new(self, user: str, name: str, force: bool) -> ImageName:
        image_name = image_names.new_name(name, user)
        self._staging.check_may_create(image_name, force)
        return image_name

    def _import(self, image_name: ImageName, force: bool, reference: str, progress: Progress) -> ImageChanged:
        def fill(folder: Path) -> Path:
            self._fetch(docker_images.EXPORT, reference, folder / "root.tar", progress)
            return folder / "root.tar"

        return self._make(image_name, force, fill, progress)

    def _import_tar(self, transfer: Transfer, progress: Progress) -> ImageChanged:
        image_name = image_names.new_name(transfer.image, transfer.user)
        return self._make(image_name, transfer.force, lambda _: transfer.file, progress, check_root)

    def _build(self, transfer: Transfer, progress: Progress) -> ImageChanged:
        def fill(folder: Path) -> Path:
            context, sources = folder / "context.tar", self._sources
            run_worker("pack_context", transfer.file, context, sources.text, on_line=progress, timeout=LIMIT_S)
            verb = docker_images.BUILD_ONLINE if sources.builds_online else docker_images.BUILD
            self._fetch(verb, context, folder / "root.tar", progress)
            context.unlink()
            return folder / "root.tar"

        return self._make(image_names.new_name(transfer.image, transfer.user), transfer.force, fill, progress)

    def _fetch(self, verb: str, source: str | Path, tar: Path, progress: Progress) -> None:
        run_worker("fetch_docker_image", self._docker_socket, verb, source, tar, on_line=progress, timeout=LIMIT_S)

    def _make(
        self, image_name: ImageName, force: bool, fill: Fill, progress: Progress, check: Check = lambda tree: None
    ) -> ImageChanged:
        notes: list[str] = []
        with self._staging.lock(image_name):
            self._staging.check_may_create(image_name, force)
            with self._staging.folder() as folder:
                (folder / TREE).mkdir()
                self._unpack(fill(folder), folder, image_name, progress)
                check(folder / TREE)
                progress("making it an image that boots")
                run_worker("make_bootable", folder / TREE, self._platform_tree(), on_line=notes.append, timeout=LIMIT_S)
                self._staging.install(folder, image_name)
        return self._catalogue.describe_change(image_name, notes)

    def _unpack(self, archive: Path, folder: Path, image_name: ImageName, progress: Progress) -> None:
        disk_reserve.check(folder, archive.stat().st_size)
        left = self._staging.bytes_left(image_name)
        limit = NO_LIMIT if left is None else str(left)
        run_worker("unpack_rootfs", archive, folder / TREE, limit, on_line=progress, timeout=LIMIT_S)

    def _copy_in(self, transfer: Transfer, progress: Progress) -> ImageChanged:
        image_name = self._catalogue.find_owned(transfer.image, transfer.user)
        with self._staging.lock(image_name), self._staging.folder() as folder:
            tree = self._staging.copy_tree(self._images.find(str(image_name)), folder)
            arguments = (tree, transfer.file, transfer.path, transfer.name)
            run_worker("copy_in", *arguments, on_line=progress, timeout=LIMIT_S)
            self._staging.install(folder, image_name)
        return self._catalogue.describe_change(image_name)

    def _platform_tree(self) -> Path:
        """An image of the platform, whose kernel those that bring none get."""
        for name in self._images.platform_names():
            try:
                return self._images.find(name).tree
            except Failed:
                continue
        raise Failed("no image of the platform has a kernel; see: walt doctor")


def check_root(tree: Path) -> None:
    if not any(os.path.lexists(tree / name) for name in ("bin", "usr", "sbin")):
        if os.path.lexists(tree / "manifest.json"):
            raise InvalidRequest("this is an image as 'docker save' writes it; allowed: a root, as of 'docker export'")
        content = ", ".join(chroot_paths.names(tree, "/")[:5])
        raise InvalidRequest(
            f"this is not the root of a system: it has neither /bin nor /usr (but: {content or 'nothing'})"
        )


def _check_path(path: str) -> None:
    """It becomes an argument of a program."""
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded or len(encoded) >= PATH_BYTES:
        raise InvalidRequest(f"{path[:40]!r}… is not a path; allowed: less than {PATH_BYTES} bytes, without NUL")


def _check_file_name(name: str) -> None:
    _check_path(name)
    if "/" in name or name in (".", ".."):
        raise InvalidRequest(f"'{name}' is not a file name")
