"""An attestation in a folder: all that somebody else needs to appraise it, and nothing secret."""

from __future__ import annotations

from pathlib import Path

from boot.attestation import NONCE_BYTES_MAX, TOKEN_BYTES_MAX
from evidence.attesting import Asked
from evidence.identity import CERTIFICATES_MAX
from evidence.reference import FILES_MAX

TOKEN, NONCE = "token.cwt", "nonce.hex"
#: The device's certificates, its own first; the root and all revocation lists; the signed texts of the release.
IDENTITY, TRUST, REFERENCE = "identity", "trust", "reference"
FILES = (TOKEN, NONCE, IDENTITY, TRUST, REFERENCE)
_FILE_BYTES_MAX = 256 << 10
_LISTS_MAX = 16


class KeptWrong(Exception):
    """What lies there is no attestation; the sentence says why and what to do."""


def write(folder: Path, asked: Asked) -> None:
    """Write it into ``folder``, which is there. Raises ``OSError``."""
    for name in (IDENTITY, TRUST, REFERENCE):
        (folder / name).mkdir()
    for number, der in enumerate(asked.identity):
        (folder / IDENTITY / f"{number}.der").write_bytes(der)
    (folder / TRUST / "root.der").write_bytes(asked.root)
    for number, der in enumerate(asked.lists):
        (folder / TRUST / f"{number}.crl").write_bytes(der)
    for name, content in asked.texts.items():
        (folder / REFERENCE / name).write_bytes(content)
    (folder / NONCE).write_text(asked.nonce.hex() + "\n", encoding="ascii")
    (folder / TOKEN).write_bytes(asked.token)


def read(folder: Path) -> Asked:
    """What ``write`` wrote, read with bounds and not believed. Raises ``KeptWrong``."""
    if not folder.is_dir():
        raise KeptWrong("there is no such folder; name the one that attest --keep wrote")
    try:
        nonce = bytes.fromhex(_bytes(folder / NONCE, 4 * NONCE_BYTES_MAX).decode("ascii"))
    except ValueError:
        raise KeptWrong(f"{NONCE} is no nonce in hexadecimal digits; keep the attestation again") from None
    texts = {path.name: _bytes(path) for path in _files(folder / REFERENCE, "*.bhm", FILES_MAX)}
    return Asked(
        nonce,
        _bytes(folder / TOKEN, TOKEN_BYTES_MAX),
        tuple(_bytes(path) for path in _files(folder / IDENTITY, "*.der", CERTIFICATES_MAX)),
        texts,
        _bytes(folder / TRUST / "root.der"),
        tuple(_bytes(path) for path in _files(folder / TRUST, "*.crl", _LISTS_MAX)),
    )


def _files(folder: Path, pattern: str, files_max: int) -> list[Path]:
    found = sorted(folder.glob(pattern))
    if len(found) > files_max:
        raise KeptWrong(
            f"{folder.name} has {len(found)} files, and at most {files_max} belong there; take out others"
        )
    return found


def _bytes(path: Path, bytes_max: int = _FILE_BYTES_MAX) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(bytes_max + 1)
    except OSError as error:
        raise KeptWrong(
            f"{path.name} cannot be read ({error.strerror}); keep the attestation again"
        ) from None
    if len(content) > bytes_max:
        raise KeptWrong(f"{path.name} has more than {bytes_max} bytes; keep the attestation again")
    return content
