"""The program of the worker's stand-in: holds a verdict in memory, and tells it when asked.

``stand_in_program.py NAME``; the first line of its input is the verdict, each further one asks for it. It ends with
its input.
"""

import sys


def main() -> None:
    """Serve until the input ends."""
    with open("/proc/self/comm", "w", encoding="ascii") as file:
        file.write(sys.argv[1])
    verdict = bytearray(sys.stdin.buffer.readline().strip())
    sys.stdout.buffer.write(b"ready\n")
    sys.stdout.buffer.flush()
    for _ in sys.stdin.buffer:
        sys.stdout.buffer.write(b"told " + verdict + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
