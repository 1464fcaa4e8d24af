"""What a script prints does nothing to the terminal of the search."""

from _tuning import tune

BAD = r"\x1b]0;title\x07\x1b[2J\x1b[8m\rtrial 0  acc 99.9\x9b1m"
done = tune(f"import sys; sys.exit('{BAD}')", "--trials", "6")
assert done.returncode == 2
for text in (done.stdout, done.stderr):
    assert all(character.isprintable() or character == "\n" for character in text), text
