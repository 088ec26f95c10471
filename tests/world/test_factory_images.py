"""The same sources give the same image, and an image runs from memory with nothing else of Bulkhead around it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from boot import image
from world.factory import images

ROOT = Path(__file__).resolve().parent.parent.parent
_DIGEST = """
import sys, hashlib
{before}
sys.path.insert(0, {root!r})
from world.factory import images
print(hashlib.sha256(images.stage("monitor", "monitor.core")).hexdigest())
"""


def digest_in_another_process(before: str, seed: str) -> str:
    program = _DIGEST.format(before=before, root=str(ROOT))
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    answer = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd="/", capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def test_the_same_sources_give_the_same_bytes_whatever_the_process_that_builds_them_has_done() -> None:
    plain = digest_in_another_process("", "0")
    assert plain == digest_in_another_process("import msgspec, json, asyncio, hypothesis", "12345")
    assert len(plain) == 64


def test_another_source_gives_other_bytes() -> None:
    one = images.archive({"a.pyc": images.compiled("a.py", b"x = 1\n")})
    assert one != images.archive({"a.pyc": images.compiled("a.py", b"x = 2\n")})
    assert one == images.archive({"a.pyc": images.compiled("a.py", b"x = 1\n")})


def test_an_image_runs_from_sealed_memory() -> None:
    program = images.compiled("__main__.py", b"import answer\nprint(answer.VALUE, answer.__file__)\n")
    content = images.archive(
        {"__main__.pyc": program, "answer.pyc": images.compiled("answer.py", b"VALUE = 42\n")}
    )
    file = image.sealed(content)
    try:
        ran = subprocess.run(
            [sys.executable, "-P", "-s", "-S", "-B", f"/proc/self/fd/{file.descriptor}"],
            pass_fds=(file.descriptor,),
            cwd="/",
            env={},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        file.close()
    assert ran.stdout.split() == ["42", f"/proc/self/fd/{file.descriptor}/answer.pyc"]
