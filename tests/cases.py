"""Run the cases: small things that once went wrong in users' hands, each with what is right.

    python tests/cases.py            # all of them, some minutes
    python tests/cases.py tune       # those whose name begins so

A case is a file in `tests/cases`: its docstring says what is right, its program checks that and
ends with another status than 0 when it is wrong. It runs in an empty folder.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CASES = Path(__file__).with_name("cases")
SECONDS = 300


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of names (default: all)")
    wanted = tuple(parser.parse_args().names) or ("",)
    cases = [case for case in sorted(CASES.glob("[a-z]*.py")) if case.stem.startswith(wanted)]
    wrong = [case.stem for case in cases if not is_right(case)]
    print(f"{len(cases) - len(wrong)} of {len(cases)} cases are right")
    return 1 if wrong or not cases else 0


def is_right(case: Path) -> bool:
    """Run one case and print how it went."""
    right = " ".join((ast.get_docstring(ast.parse(case.read_text())) or "").split())
    started = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            done = subprocess.run(
                [sys.executable, str(case)],
                cwd=folder,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            said, status = f"not done after {SECONDS} s", 1
        else:
            said, status = done.stdout + done.stderr, done.returncode
    verdict = "right" if status == 0 else "WRONG"
    print(f"{verdict}  {case.stem}  ({time.monotonic() - started:.0f} s)\n       {right}")
    if status:
        print("       | " + said.strip().replace("\n", "\n       | "))
    sys.stdout.flush()
    return status == 0


if __name__ == "__main__":
    sys.exit(main())
