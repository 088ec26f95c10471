"""The program inside a confined process of the tests: makes one attempt, and says whether it went through.

It is placed into the image as a file of its own; it runs with all that a partition's code has, and no more.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import mmap
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Facts = dict[str, Any]
MACHINE = os.uname().machine
_libc = ctypes.CDLL(None, use_errno=True)
_NUMBERS = {
    "x86_64": {
        "futex": 202,
        "ptrace": 101,
        "process_vm_readv": 310,
        "memfd_create": 319,
        "keyctl": 250,
        "io_uring_setup": 425,
    },
    "aarch64": {
        "futex": 98,
        "ptrace": 117,
        "process_vm_readv": 270,
        "memfd_create": 279,
        "keyctl": 219,
        "io_uring_setup": 425,
    },
}


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _call(name: str, *arguments: Any) -> int:
    number = _NUMBERS[MACHINE][name]
    converted = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _checked(int(_libc.syscall(ctypes.c_long(number), *converted)))


def read_passwd(_facts: Facts) -> str:
    with open("/etc/passwd", encoding="utf-8", errors="replace") as file:
        return file.readline().strip()


def list_root(_facts: Facts) -> str:
    found = os.listdir("/")
    assert "etc" in found, f"only {found}"
    return str(found)


def see_processes(facts: Facts) -> str:
    found = [name for name in os.listdir("/proc") if name.isdigit()]
    assert str(facts["pid"]) in found, f"only {found}"
    return str(len(found))


def own_memory(_facts: Facts) -> str:
    with open("/proc/self/mem", "rb", buffering=0) as file:
        return str(file.fileno())


def read_groups(_facts: Facts) -> str:
    with open("/proc/self/cgroup", encoding="ascii", errors="replace") as file:
        paths = {line.strip().split(":", 2)[2] for line in file}
    assert paths != {"/"}, "only /"
    return str(paths)


def signal_outside(facts: Facts) -> str:
    os.kill(facts["pid"], 0)
    return "signalled"


def trace(facts: Facts) -> str:
    attach, detach = 16, 17
    _call("ptrace", attach, facts["pid"], 0, 0)
    os.waitpid(facts["pid"], 0x4000_0000)
    _call("ptrace", detach, facts["pid"], 0, 0)
    return "attached"


def read_memory(facts: Facts) -> str:
    size = 16
    buffer = ctypes.create_string_buffer(size)

    class Piece(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    here = Piece(ctypes.addressof(buffer), size)
    there = Piece(facts["address"], size)
    _call("process_vm_readv", facts["pid"], ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    assert buffer.raw == facts["canary"].encode(), "other bytes"
    return buffer.raw.decode()


def connect_tcp(facts: Facts) -> str:
    with socket.socket(socket.AF_INET) as caller:
        caller.settimeout(2)
        caller.connect(("127.0.0.1", facts["port"]))
    return "connected"


def connect_abstract(facts: Facts) -> str:
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(2)
        caller.connect("\0" + facts["name"])
    return "connected"


def new_namespace(_facts: Facts) -> str:
    _checked(_libc.unshare(0x1000_0000))
    return "left"


def mount_tmpfs(_facts: Facts) -> str:
    _checked(_libc.mount(b"tmpfs", b"/channel", b"tmpfs", ctypes.c_ulong(0), None))
    return "mounted"


def make_memory_file(_facts: Facts) -> str:
    return str(_call("memfd_create", b"x", 0))


def run_program(_facts: Facts) -> str:
    with suppress(OSError):  # the attempt is what counts
        os.set_inheritable(1, True)
    os.execv("/bin/echo", ["echo", json.dumps({"ok": True, "said": "another program"})])


def fork(_facts: Facts) -> str:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return "forked"


def fork_many(_facts: Facts) -> str:
    children = []
    try:
        for _ in range(12):
            child = os.fork()
            if child == 0:
                time.sleep(30)
                os._exit(0)
            children.append(child)
    finally:
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)
    return str(len(children))


def start_thread(_facts: Facts) -> str:
    thread = threading.Thread(target=time.time)
    thread.start()
    thread.join()
    return "started"


def map_code(_facts: Facts) -> str:
    mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7).close()
    return "mapped"


def call_i386(facts: Facts) -> str:
    """The code is mapped before the seal, because afterwards nothing can be."""
    code: Callable[[], int] = facts["code"]
    found = code()
    assert found == os.getpid(), f"{found} is not the process id"
    return "called"


def set_user(_facts: Facts) -> str:
    os.setuid(os.getuid())
    return "called"


def become_user(facts: Facts) -> str:
    os.setuid(facts["uid"])
    assert os.getuid() == facts["uid"]
    return "another user"


def find_key(_facts: Facts) -> str:
    get_keyring_id, process_keyring = 0, -2
    return str(_call("keyctl", get_keyring_id, process_keyring, 1))


def ring(_facts: Facts) -> str:
    return str(_call("io_uring_setup", 1, ctypes.create_string_buffer(120)))


def write_outside(facts: Facts) -> str:
    with open(facts["path"], "w", encoding="ascii") as file:
        file.write("written")
    return str(facts["path"])


def write_image(facts: Facts) -> str:
    return write_outside({"path": f"{facts['image_root']}/planted"})


def write_channel(facts: Facts) -> str:
    return write_outside({"path": f"{facts['channel']}/planted"})


def fill_scratch(facts: Facts) -> str:
    for number in range(facts["files"]):
        with open(f"/scratch/{number}", "wb") as file:
            file.write(bytes(facts["bytes"]))
    return "written"


def many_scratch_files(facts: Facts) -> str:
    for number in range(facts["files"]):
        os.close(os.open(f"/scratch/{number}", os.O_CREAT | os.O_WRONLY))
    return "made"


def map_memory(facts: Facts) -> str:
    mmap.mmap(-1, facts["bytes"], mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    return "mapped"


def touch_memory(facts: Facts) -> str:
    with mmap.mmap(-1, facts["bytes"], mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for offset in range(0, facts["bytes"], 4096):
            memory[offset] = 1
    return "held"


def open_files(facts: Facts) -> str:
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(facts["files"])]
    return str(len(opened))


def inherited(_facts: Facts) -> str:
    found = []
    for descriptor in range(3, 256):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        found.append(descriptor)
    assert found, "none"
    return str(found)


def session_of_others(_facts: Facts) -> str:
    assert os.getsid(0) != os.getpid(), "a session of its own"
    return "in the session of the template"


def lives_on_alone(_facts: Facts) -> str:
    """With what signal the kernel tells it of its parent's death; without seccomp it may ask."""
    told = ctypes.c_int()
    _checked(_libc.prctl(2, ctypes.byref(told), 0, 0, 0))  # PR_GET_PDEATHSIG
    assert told.value != signal.SIGKILL, "it dies with its parent"
    return f"by signal {told.value}"


def host_name(facts: Facts) -> str:
    found = os.uname().nodename
    assert found == facts["host"], f"it is {found}"
    return found


def set_host_name(_facts: Facts) -> str:
    socket.sethostname("planted")
    return "set"


def see_segment(facts: Facts) -> str:
    _checked(_libc.shmctl(facts["segment"], 2, ctypes.create_string_buffer(512)))
    return "seen"


def make_socket(_facts: Facts) -> str:
    socket.socket(socket.AF_UNIX).close()
    return "made"


def listen_in_scratch(_facts: Facts) -> str:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("/scratch/listener")
    return "bound"


def make_code(_facts: Facts) -> str:
    """Memory that was not executable when it was mapped."""
    memory = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    _checked(_libc.mprotect(ctypes.c_void_p(address), ctypes.c_size_t(4096), 5))
    return "executable"


def open_own_memory(_facts: Facts) -> str:
    set_dumpable = 4
    _checked(_libc.prctl(set_dumpable, 1, 0, 0, 0))
    return "open to debuggers"


def write_large_file(facts: Facts) -> str:
    with open("/scratch/large", "wb") as file:
        file.seek(facts["bytes"])
        file.write(b"x")
    return "written"


def load_average(_facts: Facts) -> str:
    _checked(_libc.sysinfo(ctypes.create_string_buffer(512)))
    return "read"


def signal_by_descriptor(_facts: Facts) -> str:
    fcntl = importlib.import_module("fcntl")
    fcntl.fcntl(1, 8, os.getpid())  # F_SETOWN
    return "set"


# --- one cell signals another through a file that both may read: the first listens, the second speaks ---


def _library_page() -> int:
    """The address of the first page of a file of the standard library, shared with all who map it."""
    prot_read, map_shared = 1, 1
    _libc.mmap.restype = ctypes.c_void_p
    length, offset = ctypes.c_size_t(4096), ctypes.c_long(0)
    address = _libc.mmap(None, length, prot_read, map_shared, os.open(os.__file__, os.O_RDONLY), offset)
    assert address not in (None, ctypes.c_void_p(-1).value), "not mapped"
    return int(address)


def listen_by_futex(facts: Facts) -> str:
    class Span(ctypes.Structure):
        _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))

    page, wait = _library_page(), 0
    found = ctypes.c_uint32.from_address(page).value
    print("listening", flush=True)
    _call("futex", page, wait, found, ctypes.byref(Span(facts["seconds"], 0)), None, 0)
    return "woken"


def speak_by_futex(facts: Facts) -> str:
    page, wake = _library_page(), 1
    end_s = time.monotonic() + facts["seconds"]
    while _call("futex", page, wake, 1, None, None, 0) == 0:
        assert time.monotonic() < end_s, "nobody listens"
    return "somebody was woken"


def listen_by_flock(facts: Facts) -> str:
    fcntl = importlib.import_module("fcntl")
    fcntl.flock(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_EX)
    print("listening", flush=True)
    time.sleep(facts["seconds"])
    return "held"


def speak_by_flock(_facts: Facts) -> str:
    fcntl = importlib.import_module("fcntl")
    try:
        fcntl.flock(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "somebody holds it"
    raise AssertionError("free")


_LOCK = struct.Struct("hhlli0l")  # struct flock: type, whence, start, length, pid


def listen_by_record_lock(facts: Facts) -> str:
    fcntl = importlib.import_module("fcntl")
    lock = _LOCK.pack(fcntl.F_RDLCK, 0, 0, 0, 0)
    fcntl.fcntl(os.open(os.__file__, os.O_RDONLY), facts["set_command"], lock)
    print("listening", flush=True)
    time.sleep(facts["seconds"])
    return "held"


def speak_by_record_lock(facts: Facts) -> str:
    fcntl = importlib.import_module("fcntl")
    lock = _LOCK.pack(fcntl.F_WRLCK, 0, 0, 0, 0)
    found = fcntl.fcntl(os.open(os.__file__, os.O_RDONLY), facts["get_command"], lock)
    assert _LOCK.unpack(found)[0] != fcntl.F_UNLCK, "free"
    return "somebody holds it"


def advise_on_library(_facts: Facts) -> str:
    will_need = 3
    _checked(_libc.madvise(ctypes.c_void_p(_library_page()), ctypes.c_size_t(4096), will_need))
    return "read ahead"


def release_own_memory(_facts: Facts) -> str:
    with mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory[0] = 1
        memory.madvise(mmap.MADV_DONTNEED)
        assert memory[0] == 0
    return "released"


def count_faults(_facts: Facts) -> str:
    return str(importlib.import_module("resource").getrusage(0).ru_minflt)


def map_from_pool(_facts: Facts) -> str:
    """A pool that is empty says ENOMEM, and so tells about others."""
    map_hugetlb = 0x40000
    try:
        mmap.mmap(-1, 2 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | map_hugetlb).close()
    except PermissionError:
        raise
    except OSError as error:
        return str(error)
    return "mapped"


def can_gain(_facts: Facts) -> str:
    assert _checked(_libc.prctl(39, 0, 0, 0, 0)) == 0, "no_new_privs is set"
    return "not barred"


def spin(facts: Facts) -> str:
    end_s = time.monotonic() + facts["seconds"]
    while time.monotonic() < end_s:
        pass
    return str(time.process_time())


def import_module(facts: Facts) -> str:
    # No finder of ours stands in the way of who does not want it to.
    sys.path.append(facts.get("folder", "/nowhere"))
    return str(importlib.import_module(facts["module"]).__name__)


def environment(_facts: Facts) -> str:
    return json.dumps(dict(os.environ))


def nothing(_facts: Facts) -> str:
    return "lived"


def crash(facts: Facts) -> str:
    raise {"SystemExit": SystemExit(3), "GeneratorExit": GeneratorExit()}[facts["kind"]]


def wait(_facts: Facts) -> str:
    # In one piece: print writes the end of the line by itself, and by then who reads may be gone.
    os.write(1, b"waiting\n")
    time.sleep(60)
    return "waited"


def breed(_facts: Facts) -> str:
    for _ in range(5):
        if os.fork() == 0:
            os.setsid()
            time.sleep(60)
            os._exit(0)
    os.write(1, b"bred\n")
    time.sleep(60)
    return "waited"


def _machine_code() -> Callable[[], int]:
    """``mov eax, 20; int 0x80; ret``: getpid by the i386 table."""
    memory = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
    memory.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    held = ctypes.c_char.from_buffer(memory)
    code = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(held))
    code.held = held  # type: ignore[attr-defined]  # or the memory is unmapped
    return code


def main(cell: Any) -> None:
    """Seal, make the attempt, and say what came of it in one line of JSON."""
    facts: Facts = json.loads(cell.payload.config)
    facts["image_root"], facts["channel"] = cell.image_root, cell.socket_path.rpartition("/")[0]
    if facts["attempt"] == "call_i386":
        facts["code"] = _machine_code()
    if facts.get("with_channel"):
        facts["pair"] = cell.pair()
    for flaw in facts.get("flaws", ()):
        globals()[f"flaw_{flaw}"](facts)
    cell.seal()
    try:
        answer = {"ok": True, "said": globals()[facts["attempt"]](facts)}
    except Exception as error:
        answer = {"ok": False, "said": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)


def flaw_pipe(facts: Facts) -> None:
    facts["kept"] = os.pipe()


def flaw_file(facts: Facts) -> None:
    facts["kept"] = os.open(facts.get("path", "/dev/null"), os.O_RDONLY)


def flaw_socket(facts: Facts) -> None:
    facts["kept"] = [*facts.get("kept", ()), *(socket.socket(socket.AF_UNIX) for _ in range(2))]


def flaw_thread(_facts: Facts) -> None:
    threading.Thread(target=time.sleep, args=(30,), daemon=True).start()
    time.sleep(0.05)


def flaw_events(facts: Facts) -> None:
    facts["kept"] = [_checked(int(_libc.eventfd(0, 0))) for _ in range(7)]


def flaw_polls(facts: Facts) -> None:
    facts["kept"] = [_checked(int(_libc.epoll_create1(0))) for _ in range(3)]


def flaw_child(_facts: Facts) -> None:
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)


def flaw_mount(_facts: Facts) -> None:
    _checked(_libc.mount(b"tmpfs", b"/scratch", b"tmpfs", ctypes.c_ulong(0), None))


def flaw_channel(_facts: Facts) -> None:
    remount, bind, nosuid, nodev, noexec = 32, 4096, 2, 4, 8
    flags = ctypes.c_ulong(remount | bind | nosuid | nodev | noexec)
    _checked(_libc.mount(None, b"/channel", None, flags, None))
