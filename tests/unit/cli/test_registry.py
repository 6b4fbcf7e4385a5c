"""`walt registry`: the decision about a restored registry."""

import pytest

from cli.tree import run
from tests.unit.cli.fakes import FakeClient
from walt.contracts.errors import Conflict, Denied


def test_accept_names_the_agents(capsys):
    client = FakeClient(accept_registry=["console@lab", "vmrunner@lab"])
    assert run(["registry", "accept"], client) == 0
    assert capsys.readouterr().err == "this registry is obeyed now by: console@lab, vmrunner@lab\n"


@pytest.mark.parametrize(("error", "code"), [(Conflict("there is nothing to decide"), 4), (Denied("bob is not"), 5)])
def test_refusals(error, code):
    assert run(["registry", "accept"], FakeClient(accept_registry=error)) == code
