"""Every error that may cross the bus, and the exit code each becomes in the CLI.

    WaltError
      Refused                 the caller's fault; nothing was changed
        InvalidRequest   2    bad syntax, unknown setting, bad value, bad name
          UnknownArgument     the service has no such argument: caller and service are of different versions
        NotFound         3    no such node, network, image, session
        NotOwner         4    the node is somebody else's
          OwnerNeedsForce     as above; the same command with force takes it over
        Conflict         4    name taken, node busy, state does not allow it
          NeedsForce          as above; the same command with force does it, and destroys the data that it names
          LimitReached        it would give the user more than an administrator allows
        Denied           5    no identity, or not allowed to this user
      Failed             1    our fault, or the host's
        Unreachable      6    broker or service does not answer

Each takes plain sentences, so that it survives the wire unchanged; several sentences are several faults,
printed one a line.
"""

from __future__ import annotations

from collections.abc import Sequence


class WaltError(Exception):
    exit_code = 1
    force_helps = False  # whether the same command with force would be obeyed

    def __str__(self) -> str:
        return "\n".join(str(sentence) for sentence in self.args)


class Refused(WaltError):
    """The caller asked for something that is not allowed; nothing was changed."""

    exit_code = 2


class InvalidRequest(Refused):
    exit_code = 2


class UnknownArgument(InvalidRequest):
    pass


class NotFound(Refused):
    exit_code = 3


class NotOwner(Refused):
    exit_code = 4


class OwnerNeedsForce(NotOwner):
    force_helps = True


class Conflict(Refused):
    exit_code = 4


class NeedsForce(Conflict):
    force_helps = True


class LimitReached(Conflict):
    pass


class Denied(Refused):
    exit_code = 5


class Failed(WaltError):
    """The platform could not do it, though it was rightly asked."""

    exit_code = 1


class Unreachable(Failed):
    exit_code = 6


def together(errors: Sequence[WaltError]) -> WaltError:
    """One error with the sentences of all: it is what the first of them is."""
    return type(errors[0])(*(sentence for one in errors for sentence in one.args))


EXIT_USAGE = 2
EXIT_TIMEOUT = 124
EXIT_SESSION_LOST = 125  # as docker and podman have it: not a status of the command
EXIT_INTERRUPTED = 130

WIRE_ERRORS: dict[str, type[WaltError]] = {
    cls.__name__: cls
    for cls in (
        Refused,
        InvalidRequest,
        UnknownArgument,
        NotFound,
        NotOwner,
        OwnerNeedsForce,
        Conflict,
        NeedsForce,
        LimitReached,
        Denied,
        Failed,
        Unreachable,
    )
}


def from_wire(type_name: str, args: list[str]) -> WaltError:
    """The error that a service raised; anything unknown is a `Failed` that keeps its text."""
    cls = WIRE_ERRORS.get(type_name)
    if cls is None:
        return Failed(f"internal error in the platform ({type_name}: {' '.join(map(str, args))}); its log tells more")
    return cls(*args)
