"""The relay's program: Flower's own for one message, which installs and loads nothing that came over the network.

A SuperNode runs whatever app a coordinator submits. Flower 1.41 checks a signature on it only for apps from its public
hub (`--trusted-entities`); a SuperLink of one's own cannot sign, and nothing else asks before the app is installed and
imported. Both steps are functions that Flower's program finds by name in its own module. Here the names stand for
functions that refuse every bundle but the known one, and return the app that is installed at this site.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flwr.clientapp import ClientApp
from flwr.supernode.cli import flwr_clientapp
from flwr.supernode.runtime import run_clientapp as flower

from client.flower_app import app
from common.errors import FederationError
from common.protocol.bundle import check_bundle

REPLACED = ("install_from_fab", "get_load_client_app_fn")
"""Names in Flower's module through which a bundle reaches disk and interpreter."""


def replace_installer() -> None:
    """Let Flower's program refuse unknown bundles, and load the installed app instead of a bundle's.

    Raises:
        FederationError: this Flower takes other ways from a bundle to its code.
    """
    if not set(REPLACED) <= set(flower.run_clientapp.__code__.co_names):
        raise FederationError(
            "this version of Flower installs apps in an unknown way; install the one of constraints.txt"
        )
    for name, replacement in zip(REPLACED, (_install, _loader), strict=True):
        setattr(flower, name, replacement)


def _install(content: bytes, **options: Any) -> None:
    """Stand for Flower's installer: check the bundle, write nothing."""
    check_bundle(content)


def _loader(**options: Any) -> Callable[..., ClientApp]:
    """Stand for Flower's loader: return a function that returns the installed app, whatever the bundle names."""
    return lambda *names: app


def main() -> None:
    """Answer one message with the arguments of the command line; ends with Flower's exit code."""
    replace_installer()
    flwr_clientapp()


if __name__ == "__main__":
    main()
