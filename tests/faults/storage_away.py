"""Stop a database server under `optformer tune` and start it again; the search goes on."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from searches import Search, report
from servers import SERVERS, server


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=SERVERS, default="postgresql")
    parser.add_argument("--times", type=int, default=10, help="how often the server is stopped")
    parser.add_argument("--seconds", type=float, default=8.0, help="for how long at most")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name, server(args.server) as running:
        folder = Path(name)
        search = Search(folder, folder / "out", running.address, trials=20 * args.times)
        process = search.start()
        search.await_first_words(process)
        stopped = 0
        while stopped < args.times and process.poll() is None:
            time.sleep(rng.uniform(1.0, 4.0))
            running.stop()
            time.sleep(rng.uniform(0.0, args.seconds))
            running.start()
            stopped += 1
        status = process.wait()
        print(f"server stopped {stopped} times, exit status {status}: ", end="")
        faults = search.faults() + ([f"exit status {status}"] if status else [])
        if faults:
            shutil.copyfile(search.log, "storage_away.log")
            print("what the search wrote is in storage_away.log")
    return report(faults)


if __name__ == "__main__":
    sys.exit(main())
