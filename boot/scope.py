"""What a certificate may vouch for, as an extension of it: roles, partitions and safety classes.

The extension is not critical: other readers of the certificate may pass over it. The device does not.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from ipc_schemas.release import Manifest, Name, Release, SafetyClass, Shape

#: Under 1.3.6.1.4.1.99999, an example arc: whoever builds a device takes one of their own.
SCOPE = ObjectIdentifier("1.3.6.1.4.1.99999.1.1")


class Scope(Shape, frozen=True):
    """What a certificate may vouch for. ``release`` is the role of whoever puts a device's images together,
    ``debug`` that of whoever may unlock a device for debugging.

    ``partitions`` limits the role ``partition`` only; ``every_partition`` leaves that limit out.
    """

    roles: Annotated[
        tuple[Literal["bootloader", "monitor", "design", "partition", "release", "debug"], ...],
        msgspec.Meta(max_length=6),
    ] = ()
    partitions: Annotated[tuple[Name, ...], msgspec.Meta(max_length=64)] = ()
    safety_classes: Annotated[tuple[SafetyClass, ...], msgspec.Meta(max_length=3)] = ()
    every_partition: bool = False

    def within(self, outer: Scope) -> Scope:
        """What both allow."""
        if outer.every_partition:
            partitions = self.partitions
        elif self.every_partition:
            partitions = outer.partitions
        else:
            partitions = tuple(p for p in self.partitions if p in outer.partitions)
        return Scope(
            roles=tuple(r for r in self.roles if r in outer.roles),
            partitions=partitions,
            safety_classes=tuple(c for c in self.safety_classes if c in outer.safety_classes),
            every_partition=self.every_partition and outer.every_partition,
        )

    def lacks(self, subject: Manifest | Release) -> str:
        """What ``subject`` needs and this scope has not, in words; nothing when it has all."""
        if isinstance(subject, Release):
            return "" if "release" in self.roles else "the role release"
        if subject.role not in self.roles:
            return f"the role {subject.role}"
        if subject.safety_class not in self.safety_classes:
            return f"safety class {subject.safety_class}"
        if subject.role == "partition" and not self.every_partition and subject.image not in self.partitions:
            return f"the partition {subject.image}"
        return ""


NOTHING = Scope()


@asn1.sequence
class _Der:
    """SEQUENCE of three SEQUENCEs OF UTF8String and a BOOLEAN."""

    roles: list[str]
    partitions: list[str]
    safety_classes: list[str]
    every_partition: bool


def encode_scope(scope: Scope) -> bytes:
    """The one DER encoding of ``scope``: sorted, nothing twice."""
    return asn1.encode_der(
        _Der(
            roles=sorted(set(scope.roles)),
            partitions=sorted(set(scope.partitions)),
            safety_classes=sorted(set(scope.safety_classes)),
            every_partition=scope.every_partition,
        )
    )


def decode_scope(der: bytes) -> Scope:
    """The scope in an extension's value.

    Raises whatever the libraries raise when it is not the one encoding of a scope; ``boot.authority`` refuses then.
    """
    fields = asn1.decode_der(_Der, der)
    names = ("roles", "partitions", "safety_classes", "every_partition")
    scope = msgspec.convert({name: getattr(fields, name) for name in names}, Scope)
    if encode_scope(scope) != der:
        raise ValueError("a scope whose words are not sorted, or stand twice")
    return scope
