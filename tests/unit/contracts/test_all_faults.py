"""All faults of all settings are told, also those within one value; each names its part and what is allowed."""

from __future__ import annotations

import pytest

from walt.contracts.errors import InvalidRequest
from walt.contracts.settings import parse_settings


@pytest.mark.parametrize(
    ("texts", "begins"),
    [
        (
            ["networks=walt-net,lab[loss=101%,bw=0kbps,seed=-1,limit=2000000,zz=3]"],
            [f"networks: lab: '{one}' is" for one in ("loss=101%", "bw=0kbps", "seed=-1", "limit=2000000", "zz=3")],
        ),
        (
            ["networks=1x,lab[lat=x,lat=1ms],lab,home[lat=1ms"],
            [
                "networks: '1x' is not a network name",
                "networks: lab: 'lat=x' is not",
                "networks: lab: lat is given twice",
                "networks: home: '[lat=1ms' is not a link",
                "networks: 'lab' is given twice",
                "networks: '1x,lab[lat=x,lat=1ms],lab,home[lat=1ms' is without walt-net",
            ],
        ),
        (
            ["networks=walt-net[jitter=2ms,reorder.down=3%]"],
            ["networks: walt-net: up: jitter=2ms exceeds lat=0us", "networks: walt-net: down: reorder=3% has no lat"],
        ),
        (
            [
                "networks=walt-net[lat=10ms,jitter=5ms,dist=normal,loss=90%,burst=2],lab[dist=pareto,burst.down=2],x[dist=flat]"
            ],
            [
                "networks: walt-net: up: jitter=5ms exceeds lat=10ms with dist=normal; allowed: a lat of at least 3 x",
                "networks: walt-net: up: burst=2 is too short for loss=90%; allowed: a loss up to 66.6666%",
                "networks: lab: up: dist=pareto has no jitter",
                "networks: lab: down: burst=2 has no loss",
                "networks: x: 'dist=flat' is not an option of a link; allowed: uniform, normal, pareto, paretonormal",
            ],
        ),
        (
            ["networks=walt-net[carrier=down,addr=none],lab[carrier=0,carrier.down=up]"],
            [
                "networks: walt-net: 'carrier=down' is not for walt-net; allowed: up, as the node boots and is reached",
                "networks: walt-net: 'addr=none' is not for walt-net",
                "networks: lab: 'carrier=0' is not an option of a link; allowed: up, down",
                "networks: lab: 'carrier.down=up' is not an option of a link; allowed: carrier=, without .up or .down",
            ],
        ),
        (["networks=1x,1x,walt-net"], ["networks: '1x' is not a network name", "networks: '1x' is given twice"]),
        (
            ["disks=1X,0M,5G[template=zz],1M[template=ext4],2X[tmpl=3"],
            [
                "disks: '1X' is not a size",
                "disks: '0M' is not a size",
                "disks: 'zz' is not a template",
                "disks: '1M[template=ext4]' is not a size for template ext4",
                "disks: '2X' is not a size",
                "disks: '[tmpl=3' is not an option",
            ],
        ),
        (["disks=" + ",".join(["1G"] * 26 + ["0G"])], ["disks: '0G' is not a size", "disks: 27 disks are too many"]),
        (["ram=1X", "ram=1G", "rma=1"], ["'1X' is not a value for ram", "'rma' is not", "ram is given twice"]),
        (["ram=1G", "ram=2G", "ram=3G"], ["ram is given twice"]),
    ],
)
def test_all_faults_are_told(texts, begins):
    with pytest.raises(InvalidRequest) as refused:
        parse_settings(texts)
    said = refused.value.args
    assert len(said) == len(begins)
    assert all(one.startswith(begin) and "allowed: " in one for one, begin in zip(said, begins, strict=True)), said
