"""Kill `optformer tune` at random moments and resume it; nothing that was measured may be lost."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from searches import Search, report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="of each kind of storage")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    faults = []
    for kind in ("sqlite", "journal"):
        with tempfile.TemporaryDirectory() as name:
            faults += disturb(Path(name), kind, args.kills, rng)
    return report(faults)


def disturb(folder: Path, kind: str, kills: int, rng: random.Random) -> list[str]:
    address = f"sqlite:///{folder}/study.db" if kind == "sqlite" else f"{folder}/study.journal"
    search = Search(folder, folder / "out", address, trials=4 * kills)
    died, resume = 0, False
    while died < kills:
        process = search.start(resume=resume)
        if rng.random() < 0.8:  # the others are killed while they start, or soon after
            search.await_first_words(process)
        time.sleep(rng.uniform(0.0, 3.0))
        if process.poll() is not None:
            print(f"{kind}: ended by itself with status {process.returncode}")
            if process.returncode == 0:
                break
        process.kill()
        process.wait()
        died += 1
        resume = "is already in" in search.log.read_text() or any(search.out.glob("trial-*"))
    for _ in range(3):
        if search.start(resume=resume).wait() == 0:
            break
        resume = True
    print(f"{kind}: killed {died} times: ", end="")
    return search.faults()


if __name__ == "__main__":
    sys.exit(main())
