"""Arguments of a wrong type are the user's fault, and change nothing."""

from __future__ import annotations

import pytest

from services.bootserver.service import BootserverService
from services.kit.bus.entrypoints import public_methods
from tests.support.amqp_user import AmqpUser
from walt.contracts.errors import InvalidRequest

BAD = {
    "save_image": ({"node": 7, "name": "x"}, "node: 7 is not a string"),
    "import_image": ({"reference": "x", "force": "yes"}, "force: 'yes' is not true or false"),
    "open_upload": ({"purpose": "files", "image": ["x"]}, r"image: \['x'\] is not a string"),
    "write_upload": ({"upload": "x", "offset": -1, "data": ""}, "offset: -1 is refused: must be greater than"),
    "finish_upload": ({"upload": None}, "upload: None is refused: field may not be null"),
    "open_download": ({"image": "x"}, "path is missing"),
    "read_download": ({"job": "x", "offset": 2**80}, "offset: 1208925819614629174706176 is refused"),
    "close_transfer": ({"transfer": {}}, "transfer: {} is not a string"),
    "follow_job": ({"job": "x", "seen": "all"}, "seen: 'all' is not a whole number"),
    "clone_image": ({"image": "x", "name": 1.5}, "name: 1.5 is not a string"),
    "rename_image": ({"image": "x", "name": None}, "name: None is refused: field may not be null"),
    "remove_image": ({"image": "x", "force": 1}, "force: 1 is not true or false"),
}


def test_every_public_method_is_tried():
    assert {*BAD, "get_images"} == set(public_methods(BootserverService))  # which takes no argument


def test_a_wrong_argument_is_refused_and_named(server, user_uri):
    alice = AmqpUser(user_uri("alice"))
    for method, (arguments, sentence) in BAD.items():
        with pytest.raises(InvalidRequest, match=sentence):
            alice.call(f"bootserver.{method}", **arguments)
    alice.close()
