"""One odd trial is that trial's failure, or none at all; the search and the others go on."""

from _tuning import trials, tune

DEEDS = (
    "shutil.rmtree(out); os.mkdir(out)",
    "shutil.rmtree(out)",
    "os.remove(out + '/stderr.txt'); sys.exit(1)",
    "os.remove(out + '/stdout.txt'); os.mkdir(out + '/stdout.txt')",
    "os.remove(out + '/stdout.txt'); os.mkfifo(out + '/stdout.txt')",
    "os.makedirs(out[:-1] + '1/x')",
    "open(result, 'w').write('{\"acc\": ' + '9' * 400 + '}'); sys.exit()",
    "open(result, 'w').write('[' * 10000); sys.exit()",
    "os.symlink('/dev/zero', result); sys.exit()",
    "os.mkfifo(result); sys.exit()",
)
for number, deed in enumerate(DEEDS):
    script = (
        "import os, shutil, sys, time\nout = os.environ['OPTFORMER_OUT']\n"
        f"result = out + '/result.json'\nif out.endswith('0'):\n {deed}\n"
        "else:\n time.sleep(1)\n"
        "os.makedirs(out, exist_ok=True)\n"
        "open(result, 'w').write('{\"acc\": ' + sys.argv[1] + '}')\n"
    )
    options = ("--trials", "4", "--parallel", "2", "--metric-file", "result.json")
    done = tune(script, *options, "--out", str(number))
    assert done.returncode == 0, (deed, done.stderr)
    stored = trials(f"sqlite:///{number}/study.db")
    assert len(stored) == 4, (deed, stored)
    good = [trial for trial in stored[1:] if trial.value == trial.params["x"]]
    assert len(good) >= 2 + (number != 5), (deed, stored)
    print(stored[0].value or stored[0].reason)
