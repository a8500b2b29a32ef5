from __future__ import annotations

import io
import warnings
import zipfile

import pytest

from common.errors import FederationError
from common.protocol.bundle import MANIFEST, MOST_BYTES, PYPROJECT, bundle_text, check_bundle
from common.version import VERSION
from tests.testbeds.bundles import packed

TEXT = bundle_text(VERSION)
KNOWN = packed(**{PYPROJECT: TEXT})


def archive(*files: tuple[str, str]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as zipped:
        warnings.simplefilter("ignore", UserWarning)  # two files of one name
        for name, text in files:
            zipped.writestr(name, text)
    return buffer.getvalue()


def manifest() -> str:
    with zipfile.ZipFile(io.BytesIO(KNOWN)) as zipped:
        return zipped.read(MANIFEST).decode()


@pytest.mark.parametrize("version", [VERSION, "0.0.1", "7.1rc1"])
def test_the_bundle_that_flower_packs_is_known_in_any_version(version: str) -> None:
    check_bundle(packed(**{PYPROJECT: bundle_text(version)}))


def test_how_the_archive_is_compressed_does_not_matter() -> None:
    check_bundle(archive((PYPROJECT, TEXT), (MANIFEST, manifest())))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an archive",
        KNOWN[:-30],
        packed(**{PYPROJECT: TEXT, "more.py": "print()"}),
        packed(**{PYPROJECT: TEXT.replace("client.flower_app:app", "os:system")}),
        packed(**{PYPROJECT: TEXT + "\n[more]\nkey = 1\n"}),
        archive((PYPROJECT, TEXT), (MANIFEST, manifest() + "\nclient.py,,8")),
        archive((MANIFEST, manifest()), (PYPROJECT, TEXT)),
        archive((PYPROJECT, "version = 1"), (MANIFEST, manifest())),
        archive((PYPROJECT, "[project]\nversion = 1"), (MANIFEST, manifest())),
        archive((PYPROJECT, TEXT), (MANIFEST, manifest()), (PYPROJECT, TEXT)),
        archive(("client.py", TEXT), (MANIFEST, manifest())),
        archive((PYPROJECT, TEXT + "#" * MOST_BYTES), (MANIFEST, manifest())),
        archive((PYPROJECT, TEXT), (MANIFEST, manifest())) + bytes(MOST_BYTES),
    ],
)
def test_every_other_bundle_is_refused(content: bytes) -> None:
    with pytest.raises(FederationError, match="another app than fedsynth's; it was not installed"):
        check_bundle(content)


def test_a_large_file_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = archive((PYPROJECT, TEXT + "#" * MOST_BYTES), (MANIFEST, manifest()))
    assert len(bomb) < MOST_BYTES
    unpacked: list[object] = []

    def read(archive: zipfile.ZipFile, file: zipfile.ZipInfo) -> bytes:
        unpacked.append(file)
        return b""

    monkeypatch.setattr(zipfile.ZipFile, "read", read)
    with pytest.raises(FederationError):
        check_bundle(bomb)
    assert unpacked == []
