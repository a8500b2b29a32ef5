"""`fedsynth coordinator`: each command parses, calls and prints; heavy imports wait until a command needs them."""

from __future__ import annotations

import logging
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.errors import FederationError, StudyError

if TYPE_CHECKING:
    from common.system.folder import RunFolder
    from server.deploy.directory import Home

LOOK_S = 0.5
ASK_FLOWER_S = 15.0
"""How often a waiting command reads the run's log, and asks Flower whether the run still lives."""

coordinator_app = typer.Typer(
    no_args_is_help=True,
    help="Coordinate a study across sites: certs, up and enrol once; then propose, wait for approval, and run.",
)

HomeFolder = Annotated[
    Path, typer.Option("--home", envvar="FEDSYNTH_COORDINATOR", help="The coordinator's folder: keys, state, runs.")
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="The run id that `propose` printed.", show_default=False)]
HOME = Path("coordinator")


@coordinator_app.command()
def certs(
    host: Annotated[
        list[str] | None, typer.Option(help="Name or address by which sites reach this machine; may be repeated.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long the server certificate is valid.")] = 365,
    home: HomeFolder = HOME,
) -> None:
    """Make what is missing of: certificate authority, server certificate, signing key. Nothing is overwritten.

    Give sites ca.crt and the coordinator's public key, and compare both fingerprints over another channel.
    """
    from common.protocol.signing import Identity, fingerprint
    from server.deploy.certificates import certificate_fingerprint, make_authority, make_server
    from server.deploy.directory import Home

    place = Home(home.resolve())
    place.make()
    made = []
    if not any(path.exists() for path in place.authority):
        make_authority(*place.authority)
        made.append("certificate authority")
    if not any(path.exists() for path in place.server):
        make_server(place.authority, *place.server, host or [], days)
        made.append("server certificate")
    if not place.key.exists():
        Identity.create(place.key)
        made.append("signing key")
    if not made:
        raise StudyError(f"'{place.path / 'certs'}' holds everything already; move away what you want made anew")
    public = Identity.load(place.key).public
    typer.echo(f"Made: {', '.join(made)}")
    typer.echo(f"For sites: {place.authority[0]}\n  SHA-256 {certificate_fingerprint(place.authority[0])}")
    typer.echo(f'For studies: [federation] coordinator = "{public}"\n  fingerprint {fingerprint(public)}')
    typer.echo("Read both fingerprints to every site over the telephone, or hand them over on paper.")


@coordinator_app.command()
def up(
    host: Annotated[str, typer.Option(help="Address to listen on for sites.")] = "0.0.0.0",  # noqa: S104  # sites are elsewhere
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port for sites; the only one to open.")] = 8000,
    control_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the SuperLink, on this machine only.")
    ] = 8010,
    home: HomeFolder = HOME,
) -> None:
    """Run the SuperLink in the foreground: TLS, enrolled sites only, state in SQLite; runs start here alone."""
    from server.deploy import superlink

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, end)
    try:
        superlink.up(_home(home), host, port, control_port)
    except KeyboardInterrupt:
        typer.echo("stopped; runs that were under way can be resumed")


@coordinator_app.command()
def enrol(
    public_key: Annotated[
        Path, typer.Argument(metavar="SITE.pub", help="The site's public node key.", show_default=False)
    ],
    name: Annotated[str | None, typer.Option(help="What to call the site in lists.")] = None,
    home: HomeFolder = HOME,
) -> None:
    """Let a site's SuperNode connect. Compare the printed fingerprint with the site before you trust it.

    Every site needs a key of its own: a key that is enrolled already, or that is the coordinator's, is refused.
    """
    from common.protocol.signing import node_fingerprint
    from server.deploy.certificates import check_not_own
    from server.deploy.directory import CONNECTION
    from server.deploy.superlink import flwr

    shown, place = node_fingerprint(public_key), _home(home)
    check_not_own(public_key, [place.authority[0], place.server[0]])
    named = ("--name", name) if name else ()
    answer = flwr(place, "supernode", "register", str(public_key.resolve()), CONNECTION, *named)
    typer.echo(f"Enrolled {name or public_key.name} as node {answer.get('node-id')}\n  key fingerprint {shown}")


@coordinator_app.command()
def propose(
    study: Annotated[Path, typer.Argument(help="Study file (TOML).", show_default=False)],
    home: HomeFolder = HOME,
) -> None:
    """Plan one run of a study, sign it, and print its run id: what every site approves before `run`."""
    from common.planning.proposal import Proposal
    from common.protocol.signing import Identity
    from common.study.study import read_study
    from server.deploy.directory import new_run_id

    agreed = read_study(study)
    if not agreed.hospitals:
        raise StudyError(f"'{study}' lists no [[hospitals]]; list every site with its declared rows")
    if agreed.about.origin == "drafted":
        raise StudyError(
            f"'{study}' was drafted from records and sites will refuse it; write it from the data dictionary"
        )
    place = _home(home)
    proposal = Proposal.make(new_run_id(agreed.name), agreed, Identity.load(place.key))
    path = place.new_run(proposal)
    typer.echo(f"Run {proposal.run_id}\n  study fingerprint {agreed.fingerprint}")
    typer.echo(f"Send {path} to the sites. When they have approved it: fedsynth coordinator run {proposal.run_id}")


@coordinator_app.command()
def run(
    run_id: RunId,
    follow: Annotated[bool, typer.Option(help="Print the run's log until it ends; Ctrl-C leaves it running.")] = True,
    home: HomeFolder = HOME,
) -> None:
    """Start an approved run on the coordinator that is up."""
    place = _home(home)
    run_folder, _ = place.run(run_id)
    if (run_folder.path / "checkpoints").exists():
        raise StudyError(f"run '{run_id}' was started before; go on with `fedsynth coordinator resume {run_id}`")
    _start(place, run_id, follow=follow)


@coordinator_app.command()
def resume(
    run_id: RunId,
    follow: Annotated[bool, typer.Option(help="Print the run's log until it ends; Ctrl-C leaves it running.")] = True,
    home: HomeFolder = HOME,
) -> None:
    """Go on with a run from its last checkpoint, after a crash or a failure. Sites repeat what they answered before."""
    _start(_home(home), run_id, follow=follow)


@coordinator_app.command()
def status(
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="One run; all if not given.")] = None,
    home: HomeFolder = HOME,
) -> None:
    """Say where runs are: proposed, running, interrupted, failed or finished."""
    place = _home(home)
    for name in place.runs() if run_id is None else (run_id,):
        typer.echo(f"{name}: {_state(place.run(name)[0])}")


@coordinator_app.command()
def log(run_id: RunId, home: HomeFolder = HOME) -> None:
    """Print a run's log: who took part, who was excluded from what, and why."""
    from server.deploy.directory import LOG

    path = _home(home).run(run_id)[0].path / LOG
    typer.echo(path.read_text(encoding="utf-8") if path.exists() else "nothing logged yet", nl=False)


@coordinator_app.command()
def stop(run_id: RunId, home: HomeFolder = HOME) -> None:
    """Stop a run. What sites released is spent; `resume` goes on from the last checkpoint."""
    from server.deploy.directory import CONNECTION, SUBMISSION
    from server.deploy.superlink import flwr

    place = _home(home)
    submission = place.run(run_id)[0].read_json(SUBMISSION)
    if submission is None:
        raise StudyError(f"run '{run_id}' was not started; there is nothing to stop")
    flwr(place, "stop", str(submission["flower"]), CONNECTION)
    typer.echo(f"Stopped {run_id}")


def _home(path: Path) -> Home:
    """A coordinator's folder that `certs` made: a mistaken --home is told apart from one without runs."""
    from server.deploy.directory import Home

    home = Home(path.resolve())
    if not home.key.exists():
        raise StudyError(f"'{home.path}' is not a coordinator's folder; name it with --home, or make it with `certs`")
    home.make()
    return home


def _start(place: Home, run_id: str, *, follow: bool) -> None:
    """Submit the ServerApp for a run that nobody works on and that is not finished."""
    from server.deploy.directory import LOG, SUBMISSION
    from server.deploy.superlink import submit

    run_folder, proposal = place.run(run_id)
    if (holder := run_folder.holder()) is not None:
        raise StudyError(f"run '{run_id}' is being coordinated by process {holder}; wait for it or stop it first")
    if _status(run_folder) == "finished":
        raise StudyError(f"run '{run_id}' is finished; its results are in '{run_folder.path}'")
    log_file = run_folder.path / LOG
    seen = log_file.stat().st_size if log_file.exists() else 0
    (run_folder.path / "run.json").unlink(missing_ok=True)
    flower = submit(
        place,
        {
            "study": proposal.study,
            "run-id": run_id,
            "out": str(run_folder.path),
            "simulation": False,
            "rows": 0,
            "key": str(place.key),
            "receipts": str(place.receipts),
        },
    )
    run_folder.write_json(SUBMISSION, {"flower": flower})
    typer.echo(f"Submitted {run_id} (Flower run {flower})")
    if follow:
        try:
            _follow(place, run_folder, flower, seen)
        except KeyboardInterrupt:
            typer.echo(f"{run_id} goes on; see `fedsynth coordinator status {run_id}`")


def _follow(place: Home, run_folder: RunFolder, flower: str, seen: int) -> None:
    """Print the log from `seen` on until the run ends.

    Raises:
        FederationError: it failed.
    """
    from server.deploy.directory import LOG

    log_file, next_look = run_folder.path / LOG, time.monotonic() + ASK_FLOWER_S
    while True:
        ended = _status(run_folder)
        if not ended and time.monotonic() > next_look:
            next_look = time.monotonic() + ASK_FLOWER_S
            ended = "failed" if run_folder.holder() is None and _is_over(place, flower) else ""
        if log_file.exists():
            with log_file.open("rb") as file:
                file.seek(seen)
                fresh = file.read()
            seen += len(fresh)
            typer.echo(fresh.decode("utf-8", "replace"), nl=False)
        if ended == "finished":
            typer.echo(f"Results: {run_folder.path}")
            return
        if ended:
            reason = (run_folder.read_json("run.json") or {}).get(
                "reason", "the ServerApp ended without a word; see `up`"
            )
            raise FederationError(f"the run failed: {reason}")
        time.sleep(LOOK_S)


def _is_over(place: Home, flower: str) -> bool:
    """Whether Flower says that its run has ended, or says nothing at all."""
    from server.deploy.directory import CONNECTION
    from server.deploy.superlink import flwr

    try:
        runs: list[dict[str, Any]] = flwr(place, "list", CONNECTION, "--run-id", flower)["runs"]
    except FederationError:
        return True
    return str(runs[0]["status"]).startswith("finished")


def _status(run_folder: RunFolder) -> str:
    """What run.json says: "finished", "failed", or "" while there is none."""
    return str((run_folder.read_json("run.json") or {}).get("status", ""))


def _state(run_folder: RunFolder) -> str:
    """One line on where a run is."""
    checkpoints = run_folder.path / "checkpoints"
    done = len(list(checkpoints.glob("*.safetensors")))
    if (holder := run_folder.holder()) is not None:
        return f"running (process {holder}), {done} steps done"
    if ended := _status(run_folder):
        record = run_folder.read_json("run.json")
        return ended if ended == "finished" else f"{ended}: {record['reason']}; {done} steps done, can be resumed"
    return f"interrupted, {done} steps done, can be resumed" if checkpoints.exists() else "proposed"
