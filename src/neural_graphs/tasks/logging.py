"""Lightning without the remarks that are not about this run, and without its way to end the process."""

import logging
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

REMARKS = (
    ".*does not have many workers.*",  # a batch is one gather: workers would only copy it
    ".*Checkpoint directory .* exists and is not empty.*",  # so it is when a run is resumed
    ".*args parameter is intended to run from within Python.*",  # our command line hands its arguments on
    r"\s*By default only one JsonargparseDeprecationWarning",  # Lightning 2.6 beside jsonargparse 4.53, here
    r"\s*.*instantiate_classes",  # and here
    ".*LeafSpec.* is deprecated.*",  # Lightning 2.6 beside torch 2.13
    ".*GPU available but not used.*",
    ".*number of training batches .* is smaller than the logging interval.*",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's greetings, and the warnings of `REMARKS`."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for remark in REMARKS:
            warnings.filterwarnings("ignore", remark)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def interruptible() -> Iterator[None]:
    """Pass an interrupt on as what it is: Lightning ends the process with code 1, and lets no further one through."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as end:
        if not isinstance(end.__context__, KeyboardInterrupt):
            raise
        signal.signal(signal.SIGINT, handler)
        raise end.__context__ from None
