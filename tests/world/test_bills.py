"""An image's bill of materials lists what is in it and on what it stands, the same for the same image."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ipc_schemas.release import Manifest
from world import devices
from world.factory import bills, development, images

ROOT = Path(__file__).parents[2]
FILES = {"main.py": b"x = 1\n", "lib/deep/module.py": b"y = 2\n"}
CONTENT = images.packed(FILES)
PINNED = (("cryptography", bytes(range(32))), ("python", bytes(32)), ("zmq", b"z" * 32))


def bill(content: bytes = CONTENT, version: str = "1.0") -> bytes:
    return bills.bill_of_materials("therapy", version, content, PINNED)


def wrong_in(document: bytes) -> str:
    """What the schema of the standard has against it, or nothing."""
    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.decode())
    return "" if found is None else str(found)


def test_a_bill_keeps_the_schema_of_the_standard() -> None:
    assert wrong_in(bill()) == ""
    assert wrong_in(bill().replace(b'"firmware"', b'"firmwares"')) != ""
    monitor = devices.stage_images()["monitor"]
    assert wrong_in(development.bill_of("monitor", monitor, "1.0")) == ""


def test_a_bill_lists_every_file_with_its_digest_and_every_package_with_its_version() -> None:
    found: dict[str, Any] = json.loads(bill())
    image = found["metadata"]["component"]
    assert (image["name"], image["version"]) == ("therapy", "1.0")
    assert image["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(CONTENT).hexdigest()}]
    listed = {one["name"]: one["hashes"][0]["content"] for one in image["components"]}
    assert listed == {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    packages = {one["name"]: (one["version"], one["hashes"][0]["content"]) for one in found["components"]}
    assert packages == {
        "cryptography": (metadata.version("cryptography"), bytes(range(32)).hex()),
        sys.implementation.name.replace("cpython", "CPython"): (sys.version.split()[0], bytes(32).hex()),
        "pyzmq": (metadata.version("pyzmq"), (b"z" * 32).hex()),
    }
    assert found["dependencies"][0]["ref"] == "image/therapy"
    assert len(found["dependencies"][0]["dependsOn"]) == len(PINNED)


def test_the_files_of_a_stage_are_those_in_its_archive() -> None:
    files = bills.files_in(images.archive({"a.pyc": b"a", "b.pyc": b"b"}))
    assert files == {"a.pyc": b"a", "b.pyc": b"b"}
    assert bills.files_in(b"no image at all") == {}


def test_the_same_image_gives_the_same_bill_in_another_process_and_another_image_another_one() -> None:
    code = "import sys; from tests.world.test_bills import bill; sys.stdout.buffer.write(bill())"
    again = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=120
    )
    assert again.stdout == bill()
    assert b"timestamp" not in bill()
    others = [bill(images.packed({"main.py": b"x = 2\n"})), bill(version="1.1")]
    serials = {json.loads(one)["serialNumber"] for one in (bill(), *others)}
    assert len(serials) == 3


def test_a_manifest_bears_the_digest_of_its_bill() -> None:
    made = development.Made("partition", CONTENT, entry="main:Therapy", platform=PINNED)
    manifest: Manifest = development.manifest_of("therapy", made, "1.0", development.HARDWARE_ID)
    assert manifest.sbom_sha256 == hashlib.sha256(bill()).digest()


def test_no_bill_is_made_where_none_is_asked_for() -> None:
    code = "import sys, world.devices, console.app; print('cyclonedx' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "False"
