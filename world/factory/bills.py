"""Bills of materials: what is in one image, and on what it stands, as a CycloneDX 1.6 document (ECMA-424) in JSON.

The library makes the document; what is fixed here is that the same image gives the same bytes: there is no clock in it,
and its serial number follows from what it lists (UUID, version 5). The image is the component that is described; the
files in it are its parts, each with its SHA-256; what the manifest pins of the platform stands beside it. The digest
of a part of the platform is the one of the manifest: over the names and digests of all its files (``boot.platform``).
"""

from __future__ import annotations

import hashlib
import io
import platform as host
import uuid
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib import metadata
from typing import TYPE_CHECKING

from boot import image, platform
from boot.refusal import Refused

if TYPE_CHECKING:
    from cyclonedx.model import HashType
    from cyclonedx.model.component import Component

#: The package of a module that bears another name; what is not here is looked up, which takes longer.
_PACKAGES = {"OpenSSL": "pyOpenSSL", "_cbor2": "cbor2", "_cffi_backend": "cffi", "zmq": "pyzmq"}
#: Of serial numbers: the same bill has the same one.
_SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "bulkhead:bill-of-materials:1")


#: Runs of one session build the same few images again and again.
@lru_cache(maxsize=64)
def bill_of_materials(
    name: str, version: str, content: bytes, pinned: tuple[tuple[str, bytes], ...]
) -> bytes:
    """The bill of the image ``name``. ``pinned`` are the parts of the platform in its manifest."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    described = Component(
        name=name,
        version=version,
        type=ComponentType.FIRMWARE,
        bom_ref=f"image/{name}",
        hashes=[_sha256(hashlib.sha256(content).digest())],
        components=_files(name, files_in(content)),
    )
    packages = [_part_of_platform(part, digest) for part, digest in pinned]
    bom = Bom(components=packages, serial_number=_serial(name, version, content, pinned))
    bom.metadata.timestamp = None  # type: ignore[assignment]
    bom.metadata.component = described
    bom.register_dependency(described, packages)
    return (JsonV1Dot6(bom).output_as_string(indent=1) + "\n").encode()


def files_in(content: bytes) -> Mapping[str, bytes]:
    """The files of an image by their names; none of bytes that are no image."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as whole:
            return {name: whole.read(name) for name in whole.namelist()}
    try:
        return image.unpack(content)
    except Refused:
        return {}


def _files(name: str, files: Mapping[str, bytes]) -> Iterable[Component]:
    from cyclonedx.model.component import Component, ComponentType

    return [
        Component(
            name=file,
            type=ComponentType.FILE,
            bom_ref=f"image/{name}/{file}",
            hashes=[_sha256(hashlib.sha256(content).digest())],
        )
        for file, content in files.items()
    ]


def _part_of_platform(part: str, digest: bytes) -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    if part == platform.PYTHON:
        return Component(
            name=host.python_implementation(),
            version=host.python_version(),
            type=ComponentType.PLATFORM,
            bom_ref="platform/python",
            hashes=[_sha256(digest)],
        )
    if part.startswith("/"):
        return Component(
            name=part.rpartition("/")[2],
            type=ComponentType.LIBRARY,
            bom_ref=f"platform{part}",
            hashes=[_sha256(digest)],
        )
    package, version = _package_of(part)
    return Component(
        name=package,
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref=f"platform/{part}",
        purl=PackageURL("pypi", None, package.lower(), version),
        hashes=[_sha256(digest)],
    )


@cache
def _package_of(part: str) -> tuple[str, str | None]:
    """Name and version of the installed package that brings the module ``part``; without a version if none says so."""
    known = _PACKAGES.get(part, part)
    try:
        return known, metadata.version(known)
    except metadata.PackageNotFoundError:
        found = metadata.packages_distributions().get(part, [])
    return (found[0], metadata.version(found[0])) if found else (part, None)


def _sha256(digest: bytes) -> HashType:
    from cyclonedx.model import HashAlgorithm, HashType

    return HashType(alg=HashAlgorithm.SHA_256, content=digest.hex())


def _serial(name: str, version: str, content: bytes, pinned: tuple[tuple[str, bytes], ...]) -> uuid.UUID:
    listed = "\n".join(f"{part} {digest.hex()}" for part, digest in pinned)
    return uuid.uuid5(_SPACE, f"{name}\n{version}\n{hashlib.sha256(content).hexdigest()}\n{listed}")
