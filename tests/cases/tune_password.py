"""The password of a storage is in no message."""

from _tuning import tune

for options in ((), ("--resume",)):
    storage = "postgresql+psycopg://me:very-secret@127.0.0.1:1/studies"
    done = tune("print('acc: 1')", "--storage", storage, *options)
    assert done.returncode == 2
    assert "very-secret" not in done.stdout + done.stderr, done.stderr
    assert "me:***@127.0.0.1" in done.stderr, done.stderr
