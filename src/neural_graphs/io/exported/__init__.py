"""Programs of `torch.export` (`.pt2`): read as data, and run operator by operator."""

from neural_graphs.io.exported.archive import ExportedProgram as ExportedProgram
from neural_graphs.io.exported.archive import read_program as read_program
from neural_graphs.io.exported.module import ExportedModule as ExportedModule
