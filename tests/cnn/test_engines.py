"""Engines: the same bytes whoever works; a worker that dies costs nothing with Ray, and only its shards without."""

import os
import signal
from pathlib import Path

import pytest

from neural_graphs.errors import ZooError
from neural_graphs.zoo import Zoo, grow_inrs, preset
from neural_graphs.zoo.engines import Processes, Ray
from neural_graphs.zoo.recipes import grow_cnns
from tests.cnn.recipes import SMALL, Nap, files


def below(pid):
    """The processes that a process started, and those that they started."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has just ended
                continue
    found = [child for child, parent in parents.items() if parent == pid]
    return found + [each for child in found for each in below(child)]


def command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


COUNT = 96  # more shards than two workers have in hand


class KillsOne:
    """A progress callback that kills one worker, once a shard is on disk."""

    def __init__(self, name):
        self.name, self.killed = name, []

    def __call__(self, done, planned):
        if not self.killed and done:
            self.killed = [pid for pid in below(os.getpid()) if self.name in command(pid)][:1]
            for pid in self.killed:
                os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return grow_cnns(tmp_path_factory.mktemp("zoos") / "alone", "digits", SMALL, count=COUNT, engine=Processes(1))


def test_processes_make_the_same_bytes_and_a_dead_worker_loses_no_whole_shard(alone, tmp_path):
    kill = KillsOne("spawn_main")
    with pytest.raises(ZooError, match="worker process ended"):
        grow_cnns(tmp_path, "digits", SMALL, count=COUNT, engine=Processes(2), progress=kill)
    assert kill.killed and 0 < len(Zoo(tmp_path, partial=True)) < len(alone)
    assert files(grow_cnns(tmp_path, "digits", SMALL, count=COUNT, engine=Processes(2)).path) == files(alone.path)


def test_workers_end_at_once_when_nobody_waits_for_them():
    before = set(below(os.getpid()))
    made = Processes(2).run(Nap(), [0, 600, 600, 600])
    assert next(made) == 0
    made.close()  # as Ctrl-C does, or an error
    assert not [pid for pid in set(below(os.getpid())) - before if "spawn_main" in command(pid)]


@pytest.mark.filterwarnings("ignore")  # those of Ray itself
def test_ray_loses_nothing_when_a_worker_is_killed(alone, tmp_path):
    kill = KillsOne("ray::_work_on")
    grown = grow_cnns(tmp_path, "digits", SMALL, count=COUNT, engine=Ray(2), progress=kill)
    assert kill.killed and files(grown.path) == files(alone.path)


def inrs(folder, engine=None):
    return grow_inrs(folder, "digits", preset("fast"), count=24, hidden=(4,), shard_size=8, workers=1, engine=engine)


@pytest.mark.parametrize("engine", [Processes, Ray])
@pytest.mark.filterwarnings("ignore")
def test_inrs_are_the_same_whoever_grows_them(engine, tmp_path):
    assert files(inrs(tmp_path / "a").path) == files(inrs(tmp_path / "b", engine(2)).path)
