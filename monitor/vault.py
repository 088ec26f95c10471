"""What this monitor can do because of what was measured: answer a challenge, open and seal settings. Then it forgets.

It holds the secret of the monitor's layer and the way to the secure element, for the time of the boot only. When the
device is up ``close`` lets go of both: what takes the monitor over later finds neither.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from boot import attestation, cells, image, layers, sealing
from boot.element import Element
from boot.forgetting import forget
from boot.measured import Log
from boot.refusal import Refused
from ipc_schemas import codec, release
from ipc_schemas.release import Handover, Layer, Release, SealedSettings

#: Below the flash, one file for each partition.
FOLDER = "sealed"
SETTINGS_BYTES_MAX = 60 << 10
#: A note is one message.
TOKEN_BYTES_MAX = 64 << 10
_SEALED = codec.Codec(SealedSettings)
_REMEDY = "put back the release that sealed them, or enter them anew"


class Vault:
    """One monitor's, from its start until ``close``. ``chip`` stays the caller's to use until then."""

    def __init__(self, handover: Handover, chip: Element) -> None:
        self.chip = chip
        self._secret = handover.secret
        self._layers: tuple[Layer, ...] = handover.layers
        self._folder = Path(handover.flash) / FOLDER
        #: What was opened, and what it was opened from: sealed anew only if another release had sealed it.
        self._opened: dict[str, bytes] = {}

    def close(self) -> None:
        """Forget the secret, and let go of the element. Nothing can be asked of this vault any more.

        What Python cannot overwrite, ``boot.forgetting`` says.
        """
        forget(self._secret)
        self._secret = b""
        self.chip.close()

    # A challenge

    def answer(self, nonce: bytes, log: Log, running: Release) -> dict[str, object]:
        """The token for ``nonce``, and the manufacturer's certificates of this device (DER), both in base 64.

        Raises ``Refused``.
        """
        facts = self.chip.facts()
        about = attestation.Device(
            facts.serial.decode("ascii"),
            facts.hardware_id.decode("ascii"),
            running.device,
            running.version,
            facts.lifecycle,
            facts.is_debug,
        )
        key = layers.layer_key(self._secret)
        token = attestation.token(key, nonce, log, self._layers, about, int(time.time()))
        if len(token) > TOKEN_BYTES_MAX:
            raise Refused(
                "form", f"a token of {len(token)} bytes is more than {TOKEN_BYTES_MAX}", "measure less"
            )
        return {"token": _text(token), "identity": [_text(der) for der in self.chip.chain("idevid")]}

    # Settings

    def settings(self, names: Iterable[str]) -> dict[str, bytes]:
        """The settings of these partitions that lie sealed in flash, opened; of others nothing.

        Raises ``Refused`` (``seal``) for what lies there and does not open.
        """
        found = {}
        for name in names:
            path = self._folder / name
            if path.exists():
                found[name] = self._open(name, path)
        return found

    def _open(self, name: str, path: Path) -> bytes:
        try:
            file = image.taken(path, SETTINGS_BYTES_MAX + (8 << 10))
            try:
                sealed = _SEALED.decode(file.content())
            finally:
                file.close()
        except (codec.Refused, Refused):
            raise _refused(f"the sealed settings of {name} are cut or changed") from None
        try:
            secret = self.chip.sealing_secret(sealed.register)
        except Refused:
            raise _refused(
                f"the settings of {name} were sealed by another release, which has not authorised this one"
            ) from None
        try:
            opened = sealing.unseal(secret, _purpose(name), sealed.box)
        except Refused:
            raise _refused(f"the sealed settings of {name} are cut or changed") from None
        finally:
            forget(secret)
        self._opened[name] = sealed.register
        return opened

    def keep(self, settings: Mapping[str, bytes]) -> list[str]:
        """Seal these settings to the running release, each in its file; those that it has sealed itself stay.

        Returns the names of those that were written. Raises ``Refused`` (``seal``), and then the old ones lie there.
        """
        facts = self.chip.facts()
        register = facts.register
        if facts.is_debug:
            raise _refused("debugging is open in this boot, which seals nothing: no other boot could open it")
        fresh = {name: value for name, value in settings.items() if self._opened.get(name) != register}
        if not fresh:
            return []
        secret = self.chip.sealing_secret(register)
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            disk = cells.Disk(self._folder)
        except (OSError, Refused) as error:
            forget(secret)
            raise _refused(f"the sealed settings cannot be written ({error})") from None
        try:
            for name, value in fresh.items():
                write(disk, name, value, secret, register)
        except OSError as error:
            raise _refused(f"the sealed settings cannot be written ({error.strerror})") from None
        finally:
            forget(secret)
            disk.close()
        return sorted(fresh)


def write(disk: cells.Disk, name: str, settings: bytes, secret: bytes, register: bytes) -> None:
    """One partition's settings, sealed: a power cut leaves the old file or the new one.

    Raises ``Refused`` (``seal``) and ``OSError``.
    """
    if len(settings) > SETTINGS_BYTES_MAX:
        raise _refused(
            f"the settings of {name} have {len(settings)} bytes, and {SETTINGS_BYTES_MAX} can be sealed"
        )
    box = sealing.seal(secret, _purpose(name), settings)
    cells.write_whole(disk, name, codec.encode(SealedSettings(release.FORMAT, register, box)))


def _purpose(name: str) -> str:
    return f"settings of {name}"


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _refused(sentence: str) -> Refused:
    return Refused("seal", sentence, _REMEDY)
