"""Resource limits (setrlimit) of a confined process."""

from __future__ import annotations

import resource

#: What the interpreter, libzmq's two threads and their stacks map before partition code runs (52 to 69 MB
#: were measured on x86-64), with room to spare. A partition's ``memory`` limit counts from here.
#: RLIMIT_AS counts reserved address space, not use.
BASE_ADDRESS_SPACE_BYTES = 128 << 20


def apply(memory_bytes_max: int, files_max: int, file_bytes_max: int) -> None:
    """Set hard limits on address space, descriptors, file size, core dumps and locked memory.

    ``RLIMIT_NPROC`` is left out: it counts per user id and is void for root, so the ``pidscg`` and
    ``seccomp`` walls bound processes instead.
    """
    pairs = [
        (resource.RLIMIT_AS, BASE_ADDRESS_SPACE_BYTES + memory_bytes_max),
        (resource.RLIMIT_NOFILE, files_max),
        (resource.RLIMIT_FSIZE, file_bytes_max),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ]
    for kind, value in pairs:
        _, hard = resource.getrlimit(kind)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (bound, bound))
