"""The power button: ``python run_device.py`` runs the main job; ``--help`` tells the rest."""

import sys


def press() -> int:
    """Run the command line and give its exit status. Loading takes a moment, and may be interrupted too."""
    try:
        from console.app import main
    except ModuleNotFoundError as missing:
        print(
            f"run_device: this Python ({sys.executable}) has no {missing.name}; run make setup, "
            "then .venv/bin/python run_device.py",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print("run_device: stopped as asked; nothing had been started", file=sys.stderr)
        return 130
    return main()


if __name__ == "__main__":
    sys.exit(press())
