"""The files of `deploy/` name what is there: extras, options, routes, volumes and secrets."""

from __future__ import annotations

import argparse
import configparser
import json
import re
import runpy
import shlex
import signal
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from optformer.serving.service.app import create_app
from optformer.serving.service.limits import Limits

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
# What reads them: libpq, the image of PostgreSQL, uvicorn.
VARIABLES = {
    "PGPASSWORD",
    "POSTGRES_USER",
    "POSTGRES_DB",
    "POSTGRES_PASSWORD_FILE",
    "FORWARDED_ALLOW_IPS",
}
command_parser = runpy.run_path(str(ROOT / "docs" / "hooks" / "command_line.py"))["command_parser"]


def serve_options(words: list[str]) -> argparse.Namespace:
    """The options of `optformer serve ...`; an unknown one ends the test."""
    assert words[0] == "serve"
    parsed: argparse.Namespace = command_parser("serve").parse_args(words[1:])
    return parsed


def instructions(name: str) -> list[str]:
    """The arguments of one instruction of the Dockerfile, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text())
    return re.findall(rf"^{name} (.*)$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def server_command() -> str:
    (command,) = COMPOSE["services"]["server"]["command"]
    return str(command)


def test_dockerfile__what_it_installs__are_extras_of_the_project() -> None:
    (extras,) = re.findall(r'"\.\[([\w,]+)\]"', " ".join(instructions("RUN")))
    assert {"serve", "servers"} == set(extras.split(","))
    assert set(extras.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()


def test_dockerfile__its_context__has_all_that_the_package_is_built_from() -> None:
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    needed = {path.split("/")[0] for path in PROJECT["tool"]["setuptools"]["package-dir"].values()}
    needed |= {"pyproject.toml", "constraints.txt", PROJECT["project"]["readme"]}
    assert needed | set(PROJECT["project"]["license-files"]) == kept
    assert all((ROOT / name).exists() for name in kept)


def test_dockerfile__the_server__is_no_root_and_keeps_its_data_in_the_volume() -> None:
    (user,), (volume,), (port,) = map(instructions, ("USER", "VOLUME", "EXPOSE"))
    assert int(user) > 0
    options = serve_options(json.loads(instructions("CMD")[0]))
    assert json.loads(instructions("ENTRYPOINT")[0]) == [*PROJECT["project"]["scripts"]]
    assert options.storage == f"sqlite:///{volume}/studies.db"
    assert str(options.tokens).startswith(volume)
    assert (options.host, str(options.port)) == ("0.0.0.0", port)


def test_dockerfile__the_check_of_its_health__asks_a_route_that_needs_no_token() -> None:
    from optformer.serving.service.gate import OPEN

    (check,) = instructions("HEALTHCHECK")
    code = json.loads(check[check.index("[") :])[-1]
    (port,), (path,) = re.findall(r":(\d+)/", code), re.findall(r":\d+(/\w+)", code)
    assert [port] == instructions("EXPOSE")
    assert path in OPEN
    assert path in create_app("sqlite://").openapi()["paths"]


def test_compose__every_secret_and_volume__is_declared_and_used() -> None:
    services = COMPOSE["services"].values()
    for kind in ("secrets", "volumes"):
        used = {name.split(":")[0] for service in services for name in service.get(kind, [])}
        assert used == COMPOSE[kind].keys()
    (secret,) = COMPOSE["secrets"].values()
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert f"deploy/{Path(secret['file']).parent}/" in ignored


def test_compose__the_server__starts_with_options_that_there_are(server_command: str) -> None:
    assignments, _, command = server_command.partition(" exec optformer ")
    options = serve_options(shlex.split(command))
    assert options.storage == "postgresql://optformer@database/optformer"
    assert str(options.tokens).startswith("/data/")
    assert assignments.startswith("PGPASSWORD=")
    (published,) = COMPOSE["services"]["server"]["ports"]
    assert published == f"127.0.0.1:{options.port}:{options.port}"


def test_compose__every_variable__is_one_that_somebody_reads(server_command: str) -> None:
    services = COMPOSE["services"].values()
    named = {name for service in services for name in service.get("environment", {})}
    assert named | {*re.findall(r"\b([A-Z]+)=", server_command)} == VARIABLES


def test_compose__the_server__waits_for_a_database_that_says_it_is_ready() -> None:
    waits: dict[str, Any] = COMPOSE["services"]["server"]["depends_on"]
    assert waits == {"database": {"condition": "service_healthy"}}
    assert COMPOSE["services"]["database"]["healthcheck"]["test"][1] == "pg_isready"


def test_unit__its_command__starts_with_options_that_there_are() -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "optformer.service")
    service = unit["Service"]
    program, *words = shlex.split(service["ExecStart"])
    options = serve_options(words)
    home = f"/var/lib/{service['StateDirectory']}"
    assert program.endswith("/bin/optformer")
    assert options.storage == f"sqlite:///{home}/studies.db"
    assert str(options.tokens) == f"{home}/tokens"
    assert service["WorkingDirectory"] == home
    assert service["User"] != "root"
    assert int(service["SuccessExitStatus"]) == 128 + signal.SIGTERM  # as the server ends


@pytest.mark.parametrize(
    ("file", "size"), [("nginx.conf", r"client_max_body_size 1m"), ("Caddyfile", r"max_size 1MiB")]
)
def test_proxy__bodies_that_the_server_takes__pass(file: str, size: str) -> None:
    text = (DEPLOY / file).read_text()
    assert Limits().body == 1 << 20
    assert size in text
    assert f"127.0.0.1:{serve_options(['serve']).port}" in text


def test_page__the_caddyfile__is_that_of_the_folder() -> None:
    page = (ROOT / "docs" / "how-to" / "deploy-a-server.md").read_text()
    text = (DEPLOY / "Caddyfile").read_text().partition("\n")[2]
    assert text in page
