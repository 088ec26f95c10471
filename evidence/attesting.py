"""A verifier in use: challenges a device that is being switched on, and appraises what it answers.

The verifier knows the maker's root and revocation lists, and the signed texts of the release that the device should
run; it takes nothing from the device but the token and the certificates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import msgspec
from cryptography import x509
from cryptography.x509 import load_der_x509_certificate

from boot.authority import Trust, key_sha256_of
from evidence import reference
from evidence.appraisal import CHECKS, WALLS, Appraisal, Check, Verdict, Verifier, appraise, appraise_kept
from evidence.challenges import Challenges
from evidence.identity import IdentityRefused, identity_of
from evidence.reference import ReferenceFlawed
from monitor.design import Design
from world.devices import Overlay
from world.factory.publication import Published, of_session


class Asked(msgspec.Struct, frozen=True):
    """All that an appraisal was made of: what the verifier knew, and what the device answered.

    ``texts`` are the signed texts of the release, by the names of their files, ``identity`` the device's certificates,
    ``root`` and ``lists`` what the maker publishes; all certificates and lists in DER.
    """

    nonce: bytes
    token: bytes
    identity: tuple[bytes, ...]
    texts: dict[str, bytes]
    root: bytes
    lists: tuple[bytes, ...]


class Attester:
    """One device's verifier, for one start of it. ``without`` are walls of the verifier that an experiment leaves out.

    ``maker`` gives what the device's maker publishes; without one it is that of this session's factory.

    Time is the host's: the nonce's by its monotonic clock, the certificates' by its calendar.
    """

    def __init__(
        self, without: frozenset[str] = frozenset(), maker: Callable[[], Published] | None = None
    ) -> None:
        self.without = without & WALLS
        self._maker = maker
        self._published = Published({}, b"", ())
        self.asked: Asked | None = None
        #: None until the device has answered.
        self.appraisal: Appraisal | None = None
        self._challenges = Challenges()
        self._nonce = b""
        self._serial = ""

    def challenge(self, serial: str, design: Design, overlays: Mapping[str, Overlay]) -> bytes:
        """As ``world.bench.Verifier`` has it."""
        self._published = self._maker() if self._maker is not None else of_session(design, overlays)
        self._serial = serial
        self._nonce = self._challenges.fresh(serial or "a nursery", time.monotonic())
        return self._nonce

    def hear(self, token: bytes, identity: tuple[bytes, ...]) -> str:
        """As ``world.bench.Verifier`` has it. The first answer counts."""
        if self.appraisal is not None:
            return "attested: a second answer is not listened to"
        texts, root, lists, _ = self._published
        asked = Asked(self._nonce, token, identity, dict(texts), root, lists)
        self.asked = asked
        self.appraisal = _appraised(
            asked,
            key_sha256_of(load_der_x509_certificate(root)),
            self._serial,
            self._published.idevid,
            self.without,
            lambda verifier: appraise(token, self._nonce, self._challenges, verifier, time.monotonic()),
        )
        return in_one_line(self.appraisal, self.without)


def in_one_line(appraisal: Appraisal, without: frozenset[str] = frozenset()) -> str:
    """``attested: AFFIRMING, nonce fresh, release 1.0``; of any other verdict, why."""
    head = f"attested, without asking {', '.join(sorted(without))}" if without else "attested"
    if appraisal.verdict is not Verdict.AFFIRMING:
        return f"{head}: {appraisal.verdict.value}: {appraisal.sentence}"
    fresh = "" if "nonce" in without else ", nonce fresh"
    return f"{head}: {appraisal.verdict.value}{fresh}, release {appraisal.release}"


def appraised_again(asked: Asked, root_key_sha256: bytes, *, is_ours: bool, is_root_known: bool) -> Appraisal:
    """The verdict over what was kept of an attestation, by whoever trusts the root with this key.

    ``is_ours``: whoever asks drew the nonce; ``is_root_known``: they know the root from elsewhere, not from what was
    kept. Without either the verdict is no better than ``WARNING``. Whose device it is, is what its certificates say.
    """
    doubt = (
        ""
        if is_root_known
        else "the root is the one that was kept: compare its key with what the maker publishes"
    )

    def judge(verifier: Verifier) -> Appraisal:
        return appraise_kept(asked.token, asked.nonce, verifier, is_ours=is_ours, doubt=doubt)

    return _appraised(asked, root_key_sha256, "", b"", frozenset(), judge)


def root_of(asked: Asked | None) -> str:
    """The SHA-256 of the root's key that came with it, in hex; empty where there is no root that can be read."""
    if asked is None:
        return ""
    try:
        return key_sha256_of(x509.load_der_x509_certificate(asked.root)).hex()
    except Exception:  # a library over bytes that came from anywhere
        return ""


def _appraised(
    asked: Asked,
    root_key_sha256: bytes,
    serial: str,
    idevid: bytes,
    without: frozenset[str],
    judge: Callable[[Verifier], Appraisal],
) -> Appraisal:
    """The verdict, if identity and reference lead to the root; ``serial`` is the device that was asked, if any, and
    ``idevid`` its certificate (DER), where its factory says which that is."""
    trust, now = Trust(root_key_sha256, asked.root, asked.lists), datetime.now(UTC)
    try:
        named = identity_of(asked.identity, trust, now, without)
    except IdentityRefused as refused:
        return _no_verdict("device", f"who answers is not known: {refused}")
    if serial and named.serial != serial:
        return _no_verdict("device", f"{named.serial} answers, and {serial} was asked")
    if idevid and named.certificate != idevid:
        return _no_verdict("device", f"the certificate is not the one that the factory has kept of {serial}")
    try:
        expected = reference.of_signed(asked.texts, trust, now)
    except ReferenceFlawed as flawed:
        return _no_verdict("measurements", f"there is no reference to believe: {flawed}")
    verifier = Verifier(named.public_key, named.serial, named.hardware_id, expected, without=without)
    return msgspec.structs.replace(judge(verifier), serial=named.serial)


def _no_verdict(name: str, sentence: str) -> Appraisal:
    """What cannot be believed before the token is even read."""
    checks = tuple(
        Check(each, False, sentence) if each == name else Check(each, None, "not looked at")
        for each in CHECKS
    )
    return Appraisal(Verdict.CONTRAINDICATED, sentence, checks)
