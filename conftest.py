"""Every warning is an error, from collection on: plugins may warn before."""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.addinivalue_line("filterwarnings", "error")
