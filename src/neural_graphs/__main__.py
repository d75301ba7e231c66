"""``python -m neural_graphs`` is ``neural-graphs``."""

import sys

from neural_graphs.commands.cli import main

sys.exit(main())
