"""A certificate authority of this platform's own, and the broker's certificate. Made by openssl, renewed when it is
time."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from services.kit.files import write_atomically
from services.kit.subprocesses import run
from walt.contracts.errors import Failed

CA_DAYS, DAYS, RENEW_DAYS = 3650, 397, 60  # clients refuse server certificates of more than 398 days
CA_EXTENSIONS = ("basicConstraints=critical,CA:TRUE,pathlen:0", "keyUsage=critical,keyCertSign")
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


def ensure(authority: Path, folder: Path, name: str, alternative: str) -> str:
    """The authority's certificate (PEM). `folder` has ca.pem, cert.pem and key.pem, good for that name."""
    authority.mkdir(parents=True, exist_ok=True)
    ca, ca_key = authority / "ca.pem", authority / "ca.key"
    if not ca.exists():
        _make(ca_key, ca, f"/CN=walt at {name}", CA_DAYS, CA_EXTENSIONS)
    pem = ca.read_text()
    write_atomically(folder / "ca.pem", pem)
    if not _is_good(folder, alternative):
        extensions = (f"subjectAltName={alternative}", "extendedKeyUsage=serverAuth")
        issuer = ("-CA", str(ca), "-CAkey", str(ca_key))
        _make(folder / "key.pem", folder / "cert.pem", "/CN=walt broker", DAYS, extensions, *issuer)
    return pem


def _make(key: Path, pem: Path, subject: str, days: int, extensions: Sequence[str], *issuer: str) -> None:
    """A key and its certificate. The certificate appears last: a kill in between leaves none, and both are made
    again."""
    new = pem.with_suffix(".new")
    pem.unlink(missing_ok=True)
    files = ("-keyout", str(key), "-out", str(new))
    content = ("-days", str(days), "-subj", subject, *(part for one in extensions for part in ("-addext", one)))
    run(["openssl", "req", "-config", "/dev/null", "-x509", *KEY, *files, *content, *issuer])
    new.rename(pem)


def _is_good(folder: Path, alternative: str) -> bool:
    """Whether there is a certificate of this authority for this name, valid for RENEW_DAYS more."""
    cert, ca = folder / "cert.pem", folder / "ca.pem"
    if not (cert.exists() and (folder / "key.pem").exists()):
        return False
    kind, _, name = alternative.partition(":")
    with contextlib.suppress(Failed):
        run(["openssl", "x509", "-in", str(cert), "-noout", "-checkend", str(RENEW_DAYS * 86400)])
        verify = f"-verify_{'ip' if kind == 'IP' else 'hostname'}"
        run(["openssl", "verify", "-CAfile", str(ca), verify, name, str(cert)])
        return True
    return False
