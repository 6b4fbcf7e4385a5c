"""New images from root file systems: of the Docker Engine, of a user's computer, built by a Dockerfile; and images with
files put into them. Each is a piece of work of its user (`jobs.py`), for a command that follows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from services.bootserver import names, space
from services.bootserver.catalogue import Catalogue
from services.bootserver.helpers import helper
from services.bootserver.images import ImageStore
from services.bootserver.jobs import Jobs, Say
from services.bootserver.names import ImageName
from services.bootserver.transfers import Transfer, Transfers
from services.bootserver.workshop import TREE, Workshop
from services.contracts.bootserver import BUILD, FILES, IMPORT, PURPOSES, ImageChanged
from services.contracts.errors import Failed, InvalidRequest

LIMIT_S = 1800

Fill = Callable[[Path, Say], None]  # make `tree` in this workplace


class Maker:
    def __init__(self, images: ImageStore, workshop: Workshop, catalogue: Catalogue, jobs: Jobs, transfers: Transfers):
        self._images = images
        self._workshop = workshop
        self._catalogue = catalogue
        self._jobs = jobs
        self._transfers = transfers

    def import_image(self, user: str, reference: str, name: str, force: bool) -> str:
        names.check_reference(reference)
        title = self._new(user, name or names.from_reference(reference), force)
        return self._jobs.start(user, lambda say: self._import(title, force, reference, say))

    def open_upload(self, user: str, purpose: str, image: str, path: str, name: str, force: bool) -> str:
        if purpose not in PURPOSES:
            raise InvalidRequest(f"'{purpose}' is not a purpose of an upload; allowed: {', '.join(PURPOSES)}")
        if purpose == FILES:
            self._catalogue.own(image, user)
            _check_file_name(name)
        else:
            self._new(user, image, force)
        return self._transfers.open(user, purpose, image, path, name, force).id

    def finish_upload(self, user: str, upload: str) -> str:
        if self._jobs.knows(user, upload):
            return upload
        transfer = self._transfers.find(user, upload)
        work = {IMPORT: self._import_tar, BUILD: self._build, FILES: self._put_files}[transfer.purpose]
        job = self._jobs.start(user, lambda say: self._used_up(transfer, work, say), upload)
        self._transfers.take(transfer)
        return job

    def open_download(self, user: str, image: str, path: str) -> str:
        source = self._images.meant(image, user)
        transfer = self._transfers.open(user, "download", image, path)

        def pack(say: Say) -> None:
            try:
                with self._workshop.reading(source.folder):
                    helper("taking", source.tree, path, transfer.file, say=say, timeout=LIMIT_S)
            except BaseException:
                self._transfers.drop(transfer)
                raise

        return self._jobs.start(user, pack, transfer.id)

    def _new(self, user: str, name: str, force: bool) -> ImageName:
        title = names.new(name, user)
        self._workshop.check_new(title, force)
        return title

    def _used_up(self, transfer: Transfer, work: Callable[[Transfer, Say], ImageChanged], say: Say) -> ImageChanged:
        try:
            return work(transfer, say)
        finally:
            transfer.file.unlink(missing_ok=True)

    def _import(self, title: ImageName, force: bool, reference: str, say: Say) -> ImageChanged:
        def fill(place: Path, say: Say) -> None:
            helper("engine", "export", reference, place / "root.tar", say=say, timeout=LIMIT_S)
            _unpack(place / "root.tar", place, say)

        return self._make(title, force, fill, say)

    def _import_tar(self, transfer: Transfer, say: Say) -> ImageChanged:
        def fill(place: Path, say: Say) -> None:
            _unpack(transfer.file, place, say)
            check_root(place / TREE)

        return self._make(names.new(transfer.image, transfer.user), transfer.force, fill, say)

    def _build(self, transfer: Transfer, say: Say) -> ImageChanged:
        def fill(place: Path, say: Say) -> None:
            helper("engine", "build", transfer.file, place / "root.tar", say=say, timeout=LIMIT_S)
            _unpack(place / "root.tar", place, say)

        return self._make(names.new(transfer.image, transfer.user), transfer.force, fill, say)

    def _make(self, title: ImageName, force: bool, fill: Fill, say: Say) -> ImageChanged:
        notes: list[str] = []
        with self._workshop.hold(title):
            self._workshop.check_new(title, force)
            with self._workshop.place() as place:
                (place / TREE).mkdir()
                fill(place, say)
                say("making it an image that boots")
                helper("furnish", place / TREE, self._lender(), say=notes.append, timeout=LIMIT_S)
                self._workshop.finish(place, title)
        return self._catalogue.changed(title, notes)

    def _put_files(self, transfer: Transfer, say: Say) -> ImageChanged:
        title = self._catalogue.own(transfer.image, transfer.user)
        with self._workshop.hold(title), self._workshop.place() as place:
            tree = self._workshop.copy(self._images.find(str(title)), place)
            helper("putting", tree, transfer.file, transfer.path, transfer.name, say=say, timeout=LIMIT_S)
            self._workshop.finish(place, title)
        return self._catalogue.changed(title)

    def _lender(self) -> Path:
        """An image of the platform with a kernel for those that have none."""
        for name in self._images.platform_names():
            try:
                return self._images.find(name).tree
            except Failed:
                continue
        raise Failed("no image of the platform has a kernel; see: walt doctor")


def _unpack(archive: Path, place: Path, say: Say) -> None:
    space.check(place, archive.stat().st_size)
    helper("unpacking", archive, place / TREE, say=say, timeout=LIMIT_S)


def check_root(tree: Path) -> None:
    if not any(os.path.lexists(tree / name) for name in ("bin", "usr", "sbin")):
        if os.path.lexists(tree / "manifest.json"):
            raise InvalidRequest("this is an image as 'docker save' writes it; allowed: a root, as of 'docker export'")
        inside = ", ".join(sorted(path.name for path in tree.iterdir())[:5])
        raise InvalidRequest(
            f"this is not the root of a system: it has neither /bin nor /usr (but: {inside or 'nothing'})"
        )


def _check_file_name(name: str) -> None:
    if "/" in name or name in (".", ".."):
        raise InvalidRequest(f"'{name}' is not a file name")
