"""Malformed requests: those that schemathesis makes of the OpenAPI schema, and hostile ones.

    python tests/faults/service_fuzz.py [--examples 40]

No answer may be a fault of the server, and all must be as the schema says. Half of the requests go
to studies and trials that are there. Then bodies come that no generator of JSON makes, and another
owner asks for a study.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from searches import report
from service import RefusedError, Service, patiently, request

import optformer as of
from optformer.data.studies.study_config import StudyConfig
from optformer.serving.service.tokens import make_token

STUDY = "/v1/studies/fuzz"
SPACE = of.SearchSpace(x=of.Float(1e-6, 1.0, log=True), kind=of.Categorical(["a", "b", None]))
CONFIG = StudyConfig(SPACE, metric="m", goal="maximize").to_dict()
CHECKS = "not_a_server_error,status_code_conformance,response_schema_conformance"
THERE = '[parameters]\n"path.name" = "fuzz"\n"path.number" = 0\n'

BODIES = {
    "deep": b'{"config": ' + b"[" * 300_000,
    "deep objects": b'{"config": ' + b'{"a":' * 100_000,
    "half a pair": b'{"config": {}, "name": "\\ud800"}',
    "NUL": b'{"config": {}, "name": "\\u0000"}',
    "no UTF-8": b'{"config": {}, "name": "\xff"}',
    "UTF-16": '{"config": {}}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "NaN": b'{"config": {}, "seed": NaN}',
    "infinite": b'{"config": {}, "seed": 1e400}',
    "many digits": b'{"config": {}, "seed": ' + b"9" * 100_000 + b"}",
    "too large": b'{"config": "' + b"x" * 5_000_000 + b'"}',
    "empty": b"",
    "names twice": b'{"config": {}, "config": {}}',
}
SPACES: dict[str, Any] = {
    "many parameters": {f"p{i}": {"type": "int", "low": 0, "high": 1} for i in range(9000)},
    "many choices": {"p": {"type": "categorical", "choices": [*range(90_000)]}},
    "huge bounds": {"p": {"type": "int", "low": 0, "high": 10**300}},
    "no list of choices": {"p": {"type": "categorical", "choices": 3}},
    "lists as choices": {"p": {"type": "categorical", "choices": [[1], {"a": 1}]}},
    "a circle": {"p": {"type": "int", "low": 0, "high": 1, "when": {"p": [1]}}},
    "conditions of another kind": {"p": {"type": "int", "low": 0, "high": 1, "when": [3]}},
    "no numbers": {"p": {"type": "float", "low": "0", "high": [1]}},
}
JSON = b"Host: a\r\nContent-Type: application/json\r\n"
CLOSE = b"Host: a\r\nConnection: close\r\n\r\n"
LINES = {
    "no length": b"POST /v1/studies HTTP/1.1\r\n" + JSON + b"\r\n",
    "a length of letters": b"POST /v1/studies HTTP/1.1\r\nContent-Length: abc\r\n" + CLOSE,
    "less than it says": b"POST /v1/studies HTTP/1.1\r\nContent-Length: 9\r\n" + JSON + b"\r\n{}",
    "a huge length": b"POST /v1/studies HTTP/1.1\r\nContent-Length: " + b"9" * 20 + b"\r\n" + CLOSE,
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "half an escape": b"GET /v1/studies/%F HTTP/1.1\r\n" + CLOSE,
    "an escaped NUL": b"GET /v1/studies/%00/trials HTTP/1.1\r\n" + CLOSE,
    "dots": b"GET /v1/studies/../../etc/passwd HTTP/1.1\r\n" + CLOSE,
    "letters beyond ASCII": b"GET /v1/\xff\xfe HTTP/1.1\r\n" + CLOSE,
    "a long path": b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\n" + CLOSE,
    "an unknown method": b"BREW /v1/studies HTTP/1.1\r\n" + CLOSE,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, default=40, help="of each operation, twice")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        service = Service(f"sqlite:///{name}/s.db")
        service.start()
        try:
            service.await_answer()
            create(service.address)
            for settings, excluded in ((THERE, "DELETE"), ("", "NONE")):
                faults += generated(service.address, Path(name), settings, excluded, args)
            faults += hostile(service.address)
        finally:
            service.kill()
        faults += owners(Path(name))
    return report(faults)


def create(address: str) -> None:
    """A study with a pending trial and some that have ended."""
    patiently([address], "POST", "/v1/studies", {"name": "fuzz", "config": CONFIG, "seed": 0})
    patiently([address], "POST", f"{STUDY}/suggestions", {"count": 6, "lease": 86_400.0})
    for number in range(1, 5):
        path = f"{STUDY}/trials/{number}/observation"
        patiently([address], "POST", path, {"value": number / 10})


def generated(
    address: str, folder: Path, settings: str, excluded: str, args: argparse.Namespace
) -> list[str]:
    """Run schemathesis."""
    file = folder / "schemathesis.toml"
    file.write_text(settings)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(file)),
        *("run", f"{address}/openapi.json", "--checks", CHECKS, "--exclude-method", excluded),
        *("--max-examples", str(args.examples), "--seed", str(args.seed), "--no-shrink"),
        *("--continue-on-failure", "--no-color", "--warnings", "off"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    found = re.search(r"(\d+) generated", done.stdout)
    cases = int(found[1]) if found else 0
    print(f"schemathesis, {excluded} excluded: {cases} cases, status {done.returncode}", flush=True)
    if done.returncode or not cases:
        print(done.stdout[-20_000:], done.stderr[-2000:])
        return ["schemathesis has found something"]
    return []


def hostile(address: str) -> list[str]:
    """Send what no library sends."""
    host, port = address.removeprefix("http://").split(":")
    faults = []
    spaces = {
        name: json.dumps({"config": {**CONFIG, "space": space}}).encode()
        for name, space in SPACES.items()
    }
    for name, body in {**BODIES, **spaces}.items():
        head = (
            "POST /v1/studies HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        status = answer_to(host, int(port), head.encode() + body)
        if not 400 <= status < 500:
            faults.append(f"a body, {name}: answered with {status}")
    for name, lines in LINES.items():
        status = answer_to(host, int(port), lines)
        if not (status == 0 or 400 <= status < 500):
            faults.append(f"lines, {name}: answered with {status}")
    request(address, "GET", "/health")
    print(f"hostile: {len(BODIES) + len(spaces) + len(LINES)} requests, {len(faults)} faults")
    return faults


def answer_to(host: str, port: int, sent: bytes) -> int:
    """The status of the answer to some bytes; 0 where the server has closed the connection."""
    with socket.create_connection((host, port), timeout=60) as connection:
        with suppress(OSError):  # it has heard enough
            connection.sendall(sent)
        try:
            answer = connection.recv(1000)
        except OSError:
            return 0
    found = re.match(rb"HTTP/1.1 (\d+)", answer)
    return int(found[1]) if found else 0


def owners(folder: Path) -> list[str]:
    """Ask for the study of another owner in all ways."""
    file = folder / "tokens.txt"
    alice, bob = make_token(file, "alice"), make_token(file, "bob")
    service = Service(f"sqlite:///{folder}/owners.db", "--tokens", str(file))
    service.start()
    faults = []
    try:
        service.await_answer()
        request(
            service.address, "POST", "/v1/studies", {"name": "fuzz", "config": CONFIG}, token=alice
        )
        for path, operations in request(service.address, "GET", "/openapi.json")["paths"].items():
            if "{name}" not in path:
                continue
            for method in operations:
                where = path.replace("{name}", "fuzz").replace("{number}", "0")
                try:
                    request(service.address, method.upper(), where, {}, token=bob)
                except RefusedError as refused:
                    if refused.status in (404, 422) and "alice" not in str(refused):
                        continue
                faults.append(f"{method} {where} of another owner")
        names = request(service.address, "GET", "/v1/studies", token=bob)["names"]
        faults += [f"another owner sees {name}" for name in names]
    finally:
        service.kill()
    print(f"another owner's study: {len(faults)} faults")
    return faults


if __name__ == "__main__":
    sys.exit(main())
