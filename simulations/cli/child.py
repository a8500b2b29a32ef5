"""The process of a simulation that a console started: `fedsynth simulate`, which ends cleanly when it is stopped."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line. SIGTERM is Ctrl-C here, and Ctrl-C works although the process has no terminal."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    from simulations.cli.main import app

    app()


if __name__ == "__main__":
    main()
