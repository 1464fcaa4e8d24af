"""Nothing a script starts outlives it, in another session neither; endless output is bounded."""

import subprocess
from pathlib import Path

from _tuning import tune

CHILDREN = (
    "import subprocess; subprocess.Popen(['sleep', '3217']);"
    "subprocess.Popen(['sleep', '3217'], start_new_session=True); print('acc: 1')"
)
done = tune(CHILDREN, "--trials", "2", "--out", "children")
assert done.returncode == 0, done.stderr
done = tune(CHILDREN + "; import time; time.sleep(60)", "--trials", "1", "--timeout", "2",
            "--out", "timeout")  # fmt: skip
assert "timed out after 2 s" in done.stdout, done.stdout
processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
assert "sleep 3217" not in processes

done = tune("while True: print('y' * 10000)", "--trials", "1", "--timeout", "3", "--out", "yes")
size = Path("yes/trial-0000/stdout.txt").stat().st_size
print(f"{size:,} bytes")
assert size <= 32 << 20
