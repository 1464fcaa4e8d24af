"""Fill the disk under `optformer tune` at random moments; it waits and loses nothing."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from searches import Search, report

INSIDE = "OPTFORMER_FULL_DISK"  # set where this process may mount


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=20, help="how often the disk is filled")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if INSIDE not in os.environ:  # in a namespace of its own, so that the disk goes away with it
        unshare = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, *sys.argv]
        return subprocess.run(unshare, env={**os.environ, INSIDE: "1"}).returncode
    with tempfile.TemporaryDirectory() as name:
        return disturb(Path(name), args.times, random.Random(args.seed))


def disturb(folder: Path, times: int, rng: random.Random) -> int:
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=True)
    address = f"sqlite:///{disk}/out/study.db"
    search = Search(folder / "rest", disk / "out", address, trials=12 * times)
    process = search.start()
    search.await_first_words(process)
    filled = 0
    while filled < times and process.poll() is None:
        time.sleep(rng.uniform(0.0, 3.0))
        if (disk / "out" / "study.db").exists():
            fill(disk / "filler")
            time.sleep(rng.uniform(0.5, 3.0))
            (disk / "filler").unlink()
            filled += 1
    status = process.wait()
    print(f"disk filled {filled} times, exit status {status}: ", end="")
    faults = search.faults() + ([f"exit status {status}"] if status else [])
    if faults:
        shutil.copyfile(search.log, "full_disk.log")
        print("what the search wrote is in full_disk.log")
    subprocess.run(["umount", "--lazy", str(disk)], check=True)
    return report(faults)


def fill(path: Path) -> None:
    """Write a file until there is no space left."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass


if __name__ == "__main__":
    sys.exit(main())
