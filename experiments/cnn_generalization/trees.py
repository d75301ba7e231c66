"""Accuracy from statistics of the tensors by gradient-boosted trees, on the splits of the other experiments: seconds.

python experiments/cnn_generalization/trees.py zoos/small --only 'fate != diverged and (split == train or epoch == 16)'
python experiments/cnn_generalization/trees.py zoos/park --only 'fate != diverged'
"""

# ruff: noqa: T201
import argparse
import json
from pathlib import Path

from neural_graphs.tasks import Generalization, boosted_trees

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("zoo", type=Path, help="folder of the zoo")
parser.add_argument("--only", help="a question to the table that networks must answer; default: all")
parser.add_argument("--column", default="test_accuracy", help="the accuracy to predict; default: %(default)s")
parser.add_argument("--json", action="store_true", help="print JSON")
arguments = parser.parse_args()
found = boosted_trees(arguments.zoo, column=arguments.column, only=arguments.only)
if arguments.json:
    print(json.dumps(found, indent=1))
else:
    print(f"{found['networks']:,} networks of the test split of {found['zoo']}, {found['trees']} trees:")
    print("\n".join(f"  {sentence}" for sentence in Generalization.summary({**found, "published": None})))
