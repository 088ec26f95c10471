"""What a confined process does between fork and the first line of its own code: raise every wall around
itself.

The order is forced. Mounts need the capabilities that are dropped next; Landlock and no_new_privs bind one
thread and what it starts, so they come before libzmq's threads; the channel is connected while sockets are
still allowed; the sealed filter then covers all threads. Last the process reports that it is sealed, the
monitor takes its inventory, and only a ``go`` lets partition code run.
"""

from __future__ import annotations

import errno
import importlib
import os
import socket
import sys
import time
import types

import zmq

from ipc_schemas import codec, interpreter, links
from sandbox import identity, landlock, limits, linux, namespaces, rootfs, syscalls

#: The packages that every confined process has; a partition has those that its manifest names, too.
_EVERYONES = ("zmq", "msgspec")
LIFE_FD, PAYLOAD_FD, LINK_FD = 3, 4, 5
#: Below 64, so that the descriptor table stays at its smallest and its size tells an observer something.
_HIGH_FD = 40
THREADS_TIMEOUT_S = 5.0

#: Standard extension modules that code may import once no new executable memory can be mapped.
_PRELOADED = syscalls.names(
    "_bisect _contextvars _csv _datetime _decimal _heapq _json _pickle _queue _random _sha1 _sha2 _sha256 "
    "_sha512 _socket _statistics _struct _zoneinfo array binascii fcntl math mmap resource select unicodedata "
    "zlib"
)
_PRELOADED_PURE = syscalls.names(
    "encodings.ascii encodings.latin_1 dataclasses enum traceback typing collections functools json base64"
)


def warm_up() -> None:
    """Load in the template what every confined process needs, so that a fork has it already."""
    for name in (*_PRELOADED, *_PRELOADED_PURE):
        try:
            importlib.import_module(name)
        except ImportError:
            # Not every build of Python has every module; what is missing cannot be imported inside either.
            continue
    syscalls.launch()
    syscalls.sealed()
    rootfs.interpreter_paths()
    rootfs.package_paths(_EVERYONES)
    codec.Codec(links.Payload)


def run(order: links.LaunchOrder, descriptors: list[int], sync: socket.socket) -> None:
    """Confine this process as ordered and run its code. Never returns normally for a partition."""
    life: socket.socket | None = None
    try:
        if sync.recv(1) != b"a":
            os._exit(1)
        sync.close()
        linux.set_name(order.name)
        interpreter.find_only(rootfs.packages_folder(), (*_EVERYONES, *order.packages))
        _place_descriptors(descriptors, frozenset(order.walls))
        if order.role != "gate":
            os.close(LINK_FD)
        life = socket.socket(fileno=LIFE_FD)
        payload = _read_payload()
        image_root = _confine(order, payload)
    except Exception as error:  # the one place that turns any failure of a wall into a refusal to run
        _report_failure(life, order.name, error)
        os._exit(1)
    _become_program(order, payload, image_root, life)


def _report_failure(life: socket.socket | None, name: str, error: Exception) -> None:
    channel = life or socket.socket(fileno=LIFE_FD)
    channel.send(codec.encode(links.Failed(f"{name}: {type(error).__name__}: {error}"[:500])))


def _place_descriptors(descriptors: list[int], walls: frozenset[str]) -> None:
    """Life, payload and link at fixed numbers, the log as standard output and error, all else closed."""
    life, log, payload, link = (os.dup2(fd, _HIGH_FD + i) for i, fd in enumerate(descriptors))
    null = os.open("/dev/null", os.O_RDWR)
    for source, target in (
        (null, 0),
        (log, 1),
        (log, 2),
        (life, LIFE_FD),
        (payload, PAYLOAD_FD),
        (link, LINK_FD),
    ):
        os.dup2(source, target, inheritable=False)
    if "fds" in walls:
        linux.close_descriptors_except((0, 1, 2, LIFE_FD, PAYLOAD_FD, LINK_FD))


def _read_payload() -> links.Payload:
    size = os.fstat(PAYLOAD_FD).st_size
    content = os.pread(PAYLOAD_FD, size, 0)
    os.close(PAYLOAD_FD)
    return codec.Codec(links.Payload).decode_loosely(content)


def _confine(order: links.LaunchOrder, payload: links.Payload) -> str:
    """Raise the walls up to and including the launch filter. Returns the folder of the image."""
    walls = frozenset(order.walls)
    is_root = os.geteuid() == 0
    is_gate = order.role == "gate"
    identity.new_session(walls)
    if "utsns" in walls:
        socket.sethostname(order.name)
    if "mntns" in walls:
        _build_root(order, payload, is_gate=is_gate)
        image_root = rootfs.IMAGE_DIR
    else:
        image_root = order.unwalled_image
        rootfs.write_image(image_root, payload.image)
        if is_gate:  # its own folder; the partition needs no more than to pass through
            os.chmod(order.channel, 0o777)
    _import_packages(order.packages)
    if "rlimits" in walls:
        limits.apply(order.memory_bytes_max, order.files_max, max(order.scratch_bytes_max, 1 << 16))
    # The rules name folders that the process's own user may not be able to reach.
    rules = _landlock(order, image_root, is_gate=is_gate) if "landlock" in walls else -1
    identity.become(walls, order.outer_uid, is_root)
    identity.drop_privileges(walls)
    # A change of user clears the tie to the parent (one that died in between never sends "go") and closes the
    # process, whose /proc/PID the inventory reads; it is closed again before partition code.
    identity.tie_to_monitor(walls)
    linux.prctl(linux.PR_SET_DUMPABLE, 1)
    # The partition, another user, must be able to connect to the gate's socket.
    os.umask(0 if is_gate else 0o077)
    if "landlock" in walls:
        landlock.enforce(rules)
    if "seccomp" in walls:
        linux.load_seccomp(syscalls.launch(), all_threads=False)
    return image_root


def _build_root(order: links.LaunchOrder, payload: links.Payload, *, is_gate: bool) -> None:
    walls = frozenset(order.walls)
    rootfs.build(order.staging, payload.image, (*_EVERYONES, *order.packages))
    rootfs.add_channel(order.staging, order.channel, writable=is_gate)
    if order.scratch_bytes_max:
        owner = namespaces.INNER_ID if "userns" in walls else order.outer_uid or os.geteuid()
        rootfs.add_scratch(order.staging, order.scratch_bytes_max, owner)
    if "procfs" not in walls:
        rootfs.add_host_procfs(order.staging)
    rootfs.enter(order.staging)


def _import_packages(packages: tuple[str, ...]) -> None:
    """Import the declared packages while their compiled parts can still be mapped."""
    for name in packages:
        importlib.import_module(name)
        for part in _COMPILED_PARTS.get(name, ()):
            importlib.import_module(part)


_COMPILED_PARTS = {"cryptography": ("cryptography.hazmat.primitives.asymmetric.ed25519",)}


def _landlock(order: links.LaunchOrder, image_root: str, *, is_gate: bool) -> int:
    channel = rootfs.CHANNEL_DIR if "mntns" in order.walls else order.channel
    readable = [image_root, "/dev/null", *rootfs.interpreter_paths()]
    readable += [p for p in rootfs.package_paths((*_EVERYONES, *order.packages)) if os.path.exists(p)]
    writable = []
    if order.scratch_bytes_max and "mntns" in order.walls:
        writable.append(rootfs.SCRATCH_DIR)
    return landlock.ruleset(tuple(readable), tuple(writable), (channel,) if is_gate else ())


def _become_program(
    order: links.LaunchOrder, payload: links.Payload, image_root: str, life: socket.socket
) -> None:
    """Forget the launcher's modules, find the image's own, and hand over to the program of this role."""
    _use_image(image_root)
    try:
        program: types.ModuleType = importlib.import_module(payload.program)
        program.main(Cell(order, payload, life, image_root))
    except MemoryError:
        os._exit(links.EXIT_MEMORY)
    except SystemExit as leaving:
        os._exit(leaving.code if isinstance(leaving.code, int) else links.EXIT_CRASH)
    except BaseException as error:  # the template's loop, whose frames are below, must never run here
        _last_words(error)
        os._exit(links.EXIT_CRASH)
    os._exit(0)


def _last_words(error: BaseException) -> None:
    try:
        sys.excepthook(type(error), error, error.__traceback__)
        sys.stderr.flush()
    except MemoryError:
        os._exit(links.EXIT_MEMORY)


#: What the launcher has loaded and the code inside is not to find.
_LAUNCHERS_OWN = ("sandbox", "monitor", "boot", "pyseccomp")


def _use_image(image_root: str) -> None:
    """Let imports come from the image's ``lib`` and the standard library only.

    The partition author's own files (``app``) are added when the cell is sealed, and behind these: nothing of theirs
    may run before, nor stand in for a module of ours. Packages come last, and by their names only
    (``interpreter.find_only``): where the root is the host's, their folder may hold all of Bulkhead.
    """
    kept = [p for p in sys.path if p in rootfs.interpreter_paths() or p.endswith(".zip")]
    sys.path[:] = [f"{image_root}/lib", *kept]
    for name in [n for n in sys.modules if n.partition(".")[0] in _LAUNCHERS_OWN]:
        del sys.modules[name]
    schemas = sys.modules["ipc_schemas"]
    schemas.__path__ = [f"{image_root}/lib/ipc_schemas"]
    sys.path_importer_cache.clear()


class Cell:
    """What the program in a confined process is handed:
    its channel, its payload, and the last step of sealing.
    """

    def __init__(
        self, order: links.LaunchOrder, payload: links.Payload, life: socket.socket, image_root: str
    ) -> None:
        self.name = order.name
        self.payload = payload
        self.image_root = image_root
        self.link_fd = LINK_FD
        self._walls = frozenset(order.walls)
        self._life: socket.socket | None = life
        folder = rootfs.CHANNEL_DIR if "mntns" in self._walls else order.channel
        self.endpoint = f"ipc://{folder}/gate.sock"
        self.socket_path = f"{folder}/gate.sock"

    def tell(self, stage: str) -> None:
        """Report a stage of the launch to the monitor."""
        assert self._life is not None
        self._life.send(codec.encode(links.Stage(stage)))

    def await_gate(self) -> None:
        """Wait until the gate of this partition listens; the monitor says so."""
        assert self._life is not None
        if self._life.recv(16) != b"bound":
            os._exit(1)

    def seal(self) -> None:
        """Add the sealed filter on all threads, report, wait for ``go``, and close the way back."""
        assert self._life is not None
        if "seccomp" in self._walls:
            linux.load_seccomp(syscalls.sealed(), all_threads=True)
        self.tell("sealed")
        if self._life.recv(16) != b"go":
            os._exit(1)
        self._life.close()
        self._life = None
        identity.close_memory(self._walls)
        sys.path.append(f"{self.image_root}/app")

    def pair(self, **options: int) -> zmq.Socket[bytes]:
        """A PAIR socket with the options that both ends of a channel share; names are zmq's, lower case."""
        context = zmq.Context(io_threads=1)
        context.set(zmq.MAX_SOCKETS, 2)
        channel = context.socket(zmq.PAIR)
        _await_threads(context)
        channel.linger = 0
        channel.setsockopt(zmq.HANDSHAKE_IVL, 1_000)
        channel.setsockopt(zmq.RECONNECT_IVL, -1)
        for name, value in options.items():
            channel.setsockopt(getattr(zmq, name.upper()), value)
        return channel


def _await_threads(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    """Wait until libzmq's two threads have started: a thread that starts under the sealed filter aborts.

    The context holds two sockets, so a third can be made only when the second is buried. That takes the
    reaper, and because the second was told to connect (to a name that does not exist), the thread for
    connections, too.
    """
    probe = context.socket(zmq.PAIR)
    probe.setsockopt(zmq.RECONNECT_IVL, -1)
    probe.connect("ipc:///nobody")
    probe.close(0)
    deadline_s = time.monotonic() + THREADS_TIMEOUT_S
    while True:
        try:
            context.socket(zmq.PAIR).close(0)
        except zmq.ZMQError as error:
            if error.errno != errno.EMFILE or time.monotonic() > deadline_s:
                raise
            time.sleep(0.000_2)
        else:
            return
