"""The reference design laid out in a folder of its own, free to be broken."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PUMP_TOML = (REPOSITORY / "designs" / "insulin_pump" / "device.toml").read_text()


def lay_out(root: Path) -> Path:
    """The folders that the reference design names, with empty images; the result is the design's folder."""
    folder = root / "designs" / "insulin_pump"
    folder.mkdir(parents=True)
    for name in ("therapy", "transfer"):
        (root / "partitions" / name).mkdir(parents=True)
        (root / "partitions" / name / "main.py").touch()
    (folder / "device.toml").write_text(PUMP_TOML)
    return folder
