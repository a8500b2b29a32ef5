"""The app bundle of a run: names of modules and no code. A coordinator submits it, and a site takes no other."""

from __future__ import annotations

import hashlib
import io
import tomllib
import zipfile
import zlib

import tomli_w

from common.errors import FederationError

SETTINGS = ("study", "run-id", "out", "key", "receipts")
PYPROJECT, MANIFEST = "pyproject.toml", ".info/CONTENT"
"""The two files of the bundle; Flower writes the manifest when it packs."""

MOST_BYTES = 16 * 1024
"""Largest bundle that is opened, and largest file in it, in bytes; the known one has less than 1 KiB."""


def bundle_text(version: str) -> str:
    """Return the bundle's pyproject.toml: either side runs what it has installed, in the version that it has."""
    app = {
        "publisher": "fedsynth",
        "components": {"serverapp": "server.flower_app:app", "clientapp": "client.flower_app:app"},
        "config": dict.fromkeys(SETTINGS, "") | {"simulation": False, "rows": 0},
    }
    project = {"name": "fedsynth", "version": version, "description": "fedsynth run", "license": "Apache-2.0"}
    return tomli_w.dumps({"project": project, "tool": {"flwr": {"app": app}}})


def check_bundle(content: bytes) -> None:
    """Check that a packed bundle is the known one, of any fedsynth version, byte for byte in each of its files.

    Versions that differ are left to the agent, which says so.

    Args:
        content: the archive as it came over the network.

    Raises:
        FederationError: it is another bundle. Nothing of it was written, imported or run.
    """
    try:
        is_known = len(content) <= MOST_BYTES and _is_known(content)
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        TypeError,
        ValueError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ):
        is_known = False
    if not is_known:
        raise FederationError("the coordinator submitted another app than fedsynth's; it was not installed")


def _is_known(content: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = archive.infolist()
        if [file.filename for file in files] != [PYPROJECT, MANIFEST]:
            return False
        if any(file.file_size > MOST_BYTES for file in files):
            return False
        text, manifest = (archive.read(file) for file in files)
    version = tomllib.loads(text.decode())["project"]["version"]
    known = bundle_text(version).encode()
    return text == known and manifest.decode() == f"{PYPROJECT},{hashlib.sha256(known).hexdigest()},{8 * len(known)}"
