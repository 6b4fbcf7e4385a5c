"""walt: virtual nodes for network experiments, from Python.

    from walt import Client, read
    from walt.contracts.nodes import Changed, NodeView

    with Client() as client:                                     # the user and broker of client.toml
        read(Changed, client.call("nodes", "create_nodes", names=["vnode1"]))
        for node in read(list[NodeView], client.call("nodes", "get_nodes", selection="my-nodes")):
            print(node.name, node.state, node.ip)

The modules of `walt.contracts`, one per service, describe the methods that may be called, their arguments and results;
errors are those of `walt.contracts.errors`. The names below are loaded when they are first used: `import walt` itself
imports nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from walt.client import Client as Client
    from walt.configuration import Configuration as Configuration
    from walt.configuration import load_configuration as load_configuration
    from walt.contracts.errors import WaltError as WaltError
    from walt.replies import read as read

_MODULES = {
    "Client": "walt.client",
    "Configuration": "walt.configuration",
    "load_configuration": "walt.configuration",
    "WaltError": "walt.contracts.errors",
    "read": "walt.replies",
}
__all__ = ["Client", "Configuration", "WaltError", "load_configuration", "read"]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'walt' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
