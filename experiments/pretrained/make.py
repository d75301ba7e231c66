"""Makes the metanetworks and update rules that come with the package, from experiment files: zoo, training, test, and
the folder.

    python experiments/pretrained/make.py                 all that are not there yet
    python experiments/pretrained/make.py mnist-inr       one of them

Zoos go into zoos/ and runs into runs/ of the working directory; what is there is kept, so a stopped script goes on.
Together they take about three hours on two cores. To make one anew, delete its folder.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from neural_graphs.optim import save_rule
from neural_graphs.tasks import load_run, write_network
from neural_graphs.zoo import Zoo

ROOT = Path(__file__).parents[2]
INSIDE = ROOT / "src" / "neural_graphs" / "pretrained"
EXAMPLES = INSIDE / "examples"
EXPERIMENTS = {
    "mnist-inr": "inr_classification/mnist_probegen_2cores.yaml",
    "mnist-dilate": "style_editing/mnist_dilate_propagator_probes64_2cores.yaml",
    "fmnist-cnn": "cnn_generalization/small_propagator_2cores.yaml",
    "ng-gnn": "learning_to_optimize/fmnist_nggnn_several_2cores.yaml",
    "ng-t": "learning_to_optimize/fmnist_ngt_several_2cores.yaml",
    "ff": "learning_to_optimize/fmnist_ff_several_2cores.yaml",
}  # name, and the file that it is made by
RULES = ("ng-gnn", "ng-t", "ff")  # those that train networks
SEEDS = {"ng-gnn": 1}  # the best on held-out images of seeds 0 and 1; the others have seed 0


def folder_of(name: str) -> Path:
    """Where it lies in the package."""
    return (ROOT / "src" / "neural_graphs" / "optim" / "pretrained" if name in RULES else INSIDE) / name


def make(name: str) -> None:
    """Reproduce the experiment of a name, as far as that is not done, and share its run into the package."""
    file = ROOT / "experiments" / EXPERIMENTS[name]
    command = [sys.executable, "-m", "neural_graphs"]
    seed = SEEDS.get(name, 0)
    run = f"runs/{file.stem}" + (f"-seed{seed}" if seed else "")
    subprocess.run([*command, "reproduce", str(file), "--seeds", str(seed)], check=True)
    if name in RULES:
        save_rule(load_run(run)[0], folder_of(name))
    else:
        subprocess.run([*command, "share", run, str(folder_of(name))], check=True)


def make_examples() -> None:
    """Ten networks for these metanetworks to read: of every digit the first that the test split of their zoo draws."""
    tested = Zoo("zoos/mnist13k").split("test")
    for digit in range(10):
        place = int((tested.labels == digit).nonzero()[0, 0])
        write_network(tested.networks([place]), EXAMPLES / f"digit-{digit}.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EXPERIMENTS))
    names = parser.parse_args().names
    if unknown := set(names) - set(EXPERIMENTS):
        parser.error(f"unknown {', '.join(sorted(unknown))}; known: {', '.join(EXPERIMENTS)}")
    for name in names or [each for each in EXPERIMENTS if not folder_of(each).is_dir()]:
        make(name)
    if not EXAMPLES.is_dir():
        make_examples()


if __name__ == "__main__":
    main()
