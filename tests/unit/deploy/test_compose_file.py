"""What the compose files say: settings, and what belongs together."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[3]
FILES = (ROOT / "docker-compose.yml", *sorted((ROOT / "deploy" / "compose").glob("*.yml")))
SERVICES = yaml.safe_load(FILES[0].read_text())["services"]

USED = re.compile(r"\$\{(\w+)(?::?-([^}]*)|:\?[^}]*)\}")
LISTED = re.compile(r"^#(\w+)=(.*)$", re.MULTILINE)
EXAMPLES = {
    "WALT_IMAGES",
    "WALT_PARENT_INTERFACE",
    "WALT_UNDERLAY",
}  # .env.example shows a value that is not the default


def test_the_list_of_settings_is_complete_and_tells_the_defaults():
    used = {(name, default) for path in FILES for name, default in USED.findall(path.read_text())}
    listed = LISTED.findall((ROOT / ".env.example").read_text())
    assert {name for name, _ in used} == {name for name, _ in listed}
    assert {one for one in used if one[0] not in EXAMPLES} == {one for one in listed if one[0] not in EXAMPLES}


def test_who_is_in_the_world_restarts_with_it():
    inside = {name: one for name, one in SERVICES.items() if one.get("network_mode") == "service:world"}
    assert len(inside) == 9
    assert [name for name, one in inside.items() if not one["depends_on"]["world"].get("restart")] == []


def test_who_has_the_docker_socket_has_no_network():
    mounts = {
        name: [one for one in service.get("volumes", ()) if "docker.sock" in one] for name, service in SERVICES.items()
    }
    assert {name: found for name, found in mounts.items() if found} == {
        "launcher": ["${WALT_DOCKER_SOCKET:-/var/run/docker.sock}:/var/run/docker.sock"],
        "docker-images": ["${WALT_IMAGE_SOCKET:-/dev/null}:/var/run/docker.sock"],
    }
    for name in ("launcher", "docker-images"):
        service = SERVICES[name]
        assert service["network_mode"] == "none" and service["read_only"] and "cap_add" not in service


def test_every_log_is_bounded():
    found = [pair for path in FILES for pair in yaml.safe_load(path.read_text())["services"].items()]
    made = {name: one for name, one in found if "image" in one and one.get("deploy") != {"replicas": 0}}
    assert made.keys() > {"postgres", "world"}
    assert [name for name, one in made.items() if "max-size" not in one["logging"]["options"]] == []
