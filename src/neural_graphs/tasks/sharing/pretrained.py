"""`Pretrained`: a trained metanetwork in a folder that was shared, found by path, by name, or on the Hub."""

from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from neural_graphs.errors import CheckpointError, ConfigError, HubError
from neural_graphs.io.atomic import sha256
from neural_graphs.io.documents import read_json, reading, within
from neural_graphs.io.hub import Repository
from neural_graphs.io.tensors import check_finite, read_tensors
from neural_graphs.layout import Layout
from neural_graphs.layout.serialise import from_json
from neural_graphs.nn.shareable import Shareable
from neural_graphs.tasks.data import ZooData
from neural_graphs.tasks.generalization.calibration import CALIBRATION
from neural_graphs.tasks.runs import Trained, filled
from neural_graphs.tasks.sharing.kinds import KINDS
from neural_graphs.tasks.task import Task
from neural_graphs.zoo.canvas import Canvas

Module = TypeVar("Module", bound=Shareable)
FORMAT, VERSION = "neural-graphs metanetwork", 1
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FACTS = ("format", "version", "model", "layouts", "canvas", "batch_size", "files")  # of config.json
AGAIN = "copy the whole folder again, or share the run again: neural-graphs share RUN FOLDER"
INSIDE = Path(__file__).parents[2] / "pretrained"  # those that come with the package


def known() -> list[str]:
    """The names of the metanetworks that come with the package."""
    return sorted(file.parent.name for file in INSIDE.glob(f"*/{CONFIG}"))


def examples() -> list[Path]:
    """Networks that come with the package, for these to read: ten that draw a digit each, the name of their file."""
    return sorted(INSIDE.glob("examples/*.safetensors"))


class Pretrained(Trained):
    """What was shared of a run: a folder, a name such as `mnist-inr`, or `owner/name` of the Hub.

    `config.json` says how the metanetwork is made, and what it was trained for and on; `model.safetensors` holds its
    numbers, `calibration.safetensors` the intervals of a predictor. Raises ConfigError where nothing is found, HubError
    where the Hub does not give it, CheckpointError naming the file that is damaged.
    """

    def __init__(self, place: str | Path) -> None:
        self.folder = found(place)
        self.config_file = self.folder / CONFIG
        self.weights = self.folder / WEIGHTS

    def __repr__(self) -> str:
        return f"Pretrained({str(self.folder)!r})"

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What `config.json` says. Raises CheckpointError where it is damaged or of another library."""
        facts = read_json(self.config_file, CheckpointError, AGAIN)
        if facts.get("format") != FORMAT or facts.get("version") != VERSION:
            raise CheckpointError(
                f"{self.config_file} is of format {facts.get('format')!r} {facts.get('version', '')}, expected"
                f" {FORMAT!r} {VERSION}: it was not written by save_pretrained, or by a later version of neural-graphs"
            )
        with reading(self.config_file, CheckpointError, AGAIN):
            for key in FACTS:
                within(facts, key)
            if WEIGHTS not in (files := facts["files"]) or not set(files) <= {WEIGHTS, CALIBRATION}:
                raise ValueError(f"it lists the files {', '.join(files)}, expected {WEIGHTS}, and {CALIBRATION} if any")
        return facts

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The layouts of the networks it was trained on."""
        with reading(self.config_file, CheckpointError, AGAIN):
            return tuple(map(Layout.from_json, self.facts["layouts"]))

    @property
    def canvas(self) -> Canvas:
        """How the networks it was trained on draw."""
        with reading(self.config_file, CheckpointError, AGAIN):
            return Canvas.from_json(self.facts["canvas"])

    @property
    def batch_size(self) -> int:
        """How many networks it read at once."""
        with reading(self.config_file, CheckpointError, AGAIN):
            return max(1, int(self.facts["batch_size"]))

    def data(self) -> ZooData:
        """Raises ConfigError: zoos are not shared along."""
        raise ConfigError("its zoo was not shared with it")

    def task(self) -> Task:
        """The task around the metanetwork. Raises ConfigError for a metanetwork that was saved without one."""
        made = self.make()
        if not isinstance(made, Task):
            raise ConfigError(
                f"{self.folder} holds a metanetwork alone, not what it was trained for: share a run instead, by"
                " neural-graphs share RUN FOLDER"
            )
        return made.eval()

    def make(self, *own: type) -> Task | Shareable:
        """The task, or the metanetwork saved without one, made by classes of this library or `own` ones."""
        with reading(self.config_file, CheckpointError, AGAIN):
            try:
                made = from_json(self.facts["model"], (*own, *KINDS))
            except RuntimeError as error:  # of torch, which sizes do not suit
                raise ValueError(str(error)) from error
            if not isinstance(made, Task | Shareable):
                raise ValueError(f"model is a {type(made).__name__}, expected a task or a metanetwork")
        state = read_tensors(self.weights)
        check_finite(state, self.weights)
        filled(made.metanetwork if isinstance(made, Task) else made, state, self.weights, self.config_file)
        self._check_files()
        return made

    def push_to_hub(self, name: str, *, private: bool = False) -> str:
        """Write the folder onto the Hub as `owner/name`, in one commit, and return its address. Raises HubError."""
        repository = Repository.at(name, "model")
        if repository is None:
            raise ConfigError(f"{name} is no name on the Hub: expected owner/name")
        files: dict[str, Path | bytes] = {each: self.folder / each for each in (CARD, CONFIG, *self.facts["files"])}
        return repository.push(files, "neural-graphs: a metanetwork", private=private)

    def _check_files(self) -> None:
        """Raise CheckpointError for a file beside the configuration that is not the one that was written."""
        for name, checksum in self.facts["files"].items():
            file = self.folder / name
            if not file.is_file():
                raise CheckpointError(f"{file} is missing; {AGAIN}")
            if sha256(file.read_bytes()) != checksum:
                raise CheckpointError(f"{file} is damaged: it does not have the checksum in {CONFIG}; {AGAIN}")


def from_pretrained(place: str | Path) -> nn.Module:
    """The metanetwork of a folder, of the Hub (`owner/name`) or of this package (`mnist-inr`), whatever its class.

    Raises what `Pretrained` raises.

    Examples:
        >>> import torch, neural_graphs as ng
        >>> reader = ng.from_pretrained("mnist-inr")  # names the digit that a network 2 → 32 → 32 → 1 draws
        >>> layout = ng.Layout.mlp((2, 32, 32, 1), "sine")
        >>> reader(ng.Networks(torch.rand(5, layout.size), layout)).shape
        torch.Size([5, 10])
    """
    made = Pretrained(place).make()
    return (made.metanetwork if isinstance(made, Task) else made).eval()


def metanetwork_of(place: str | Path, kind: type[Module]) -> Module:
    """As `from_pretrained`, of a class. Raises CheckpointError where it is of another."""
    trained = Pretrained(place)
    made = trained.make(kind)
    metanetwork = made.metanetwork if isinstance(made, Task) else made
    if not isinstance(metanetwork, kind):
        name = type(metanetwork).__name__
        raise CheckpointError(
            f"{trained.folder} holds a {name}, not a {kind.__name__}; load it by {name}.from_pretrained"
        )
    return metanetwork.eval()


def found(place: str | Path) -> Path:
    """The folder of a path, of a name, or of an address of the Hub. Raises ConfigError, or HubError."""
    folder, names = Path(place), known()
    if (folder / CONFIG).is_file():
        return folder
    if str(place) in names:
        return INSIDE / str(place)
    if folder.is_dir():
        hint = "; it is a run: say --run" if (folder / "config.yaml").is_file() else ""
        raise ConfigError(f"{folder} holds no {CONFIG}: it is no shared metanetwork{hint}")
    repository = Repository.at(place, "model")
    if repository is None:
        near = get_close_matches(str(place), names, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        listed = ", ".join(names) or "none"
        raise ConfigError(
            f"{place} is no folder, no owner/name of the Hub, and none of those that come with the package{hint}"
            f" (known: {listed})"
        )
    try:
        return fetched(repository)
    except HubError as error:
        raise HubError(f"{place} is no folder here, and {error}") from error


def fetched(repository: Repository) -> Path:
    """The folder of a metanetwork of the Hub, in the cache: its configuration and the files that it lists."""
    file = repository.fetch(CONFIG)
    with reading(file, CheckpointError, AGAIN):
        files = set(within(read_json(file, CheckpointError, AGAIN), "files")) & {WEIGHTS, CALIBRATION}
    for name in sorted(files):
        repository.fetch(name)
    return file.parent
