"""Writes constraints.txt: every package that our extras pull, at the version of this environment, else the newest.

    .venv/bin/python tools/constraints.py [--upgrade]

Run it with the oldest Python we support, on Linux, where torch pulls the most. ``--upgrade`` takes the newest of all.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
HEAD = """\
# Every package that our extras pull, by name and exact version. Written by tools/constraints.py; do not edit by hand.
"""


def normal(name: str) -> str:
    """A distribution's name as all tools compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def resolved(pins: Path | None) -> dict[str, str]:
    """What pip would install for all extras, by normal name, without us."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    if pins is not None:
        command += ["-c", str(pins)]
    told = subprocess.run([*command, f"{CHECKOUT}[all,dev]"], check=True, stdout=subprocess.PIPE, text=True)
    chosen = (item["metadata"] for item in json.loads(told.stdout)["install"])
    return {normal(each["name"]): each["version"] for each in chosen if normal(each["name"]) != "rerank-plugin"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions instead of the installed ones")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        pins = Path(scratch) / "installed.txt"
        freeze = [sys.executable, "-m", "pip", "freeze", "--exclude-editable"]
        pins.write_text(subprocess.run(freeze, check=True, stdout=subprocess.PIPE, text=True).stdout, encoding="utf-8")
        packages = resolved(None if asked.upgrade else pins)
    lines = [f"{name}=={version}\n" for name, version in sorted(packages.items())]
    (CHECKOUT / "constraints.txt").write_text(HEAD + "".join(lines), encoding="utf-8")
    sys.stderr.write(f"constraints.txt: {len(lines)} packages\n")


if __name__ == "__main__":
    main()
