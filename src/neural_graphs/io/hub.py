"""Folders of the Hugging Face Hub, or of a server that speaks its protocol (`HF_ENDPOINT`): read by the file, written.

Needs the extra `hub`, here and nowhere else. Files are kept in the cache of huggingface_hub (`HF_HOME`); what is there
is used without network, and nothing else with `HF_HUB_OFFLINE=1`. Whoever must log in does so by `hf auth login`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from neural_graphs.errors import HubError, reason

WAIT = 10  # seconds for the first answer
ADDRESS = re.compile(r"(?P<scheme>hub:/{1,2})?(?P<name>\w[\w.-]*/\w[\w.-]*)(?:@(?P<revision>[\w.-]+))?")


@dataclass
class Repository:
    """A folder `owner/name` of models or data sets; after the first file, at the commit that this one was of."""

    name: str
    kind: Literal["model", "dataset"]
    revision: str | None = None
    _asked: bool = field(default=False, init=False, repr=False)  # whether the Hub was
    _reached: bool = field(default=False, init=False, repr=False)

    @classmethod
    def at(cls, place: str | Path, kind: Literal["model", "dataset"]) -> "Repository | None":
        """That of an address such as `owner/name`, `hub://owner/name@main`; None for what is none.

        >>> Repository.at("hub://ours/zoo@v1", "dataset")
        Repository(name='ours/zoo', kind='dataset', revision='v1')
        """
        found = ADDRESS.fullmatch(str(place))
        return None if found is None else cls(found["name"], kind, found["revision"])

    def __str__(self) -> str:
        return f"hub://{self.name}" + ("" if self.revision is None else f"@{self.revision}")

    def fetch(self, file: str) -> Path:
        """A file of it, as it lies in the cache. Raises HubError where it cannot be had."""
        hub = _library(self.name)
        with self._said(file):
            if not self._asked:
                self._ask(hub)
            path = Path(
                hub.HfApi().hf_hub_download(
                    self.name, file, repo_type=self.kind, revision=self.revision, local_files_only=not self._reached
                )
            )
        self.revision = path.parent.name
        return path

    def _ask(self, hub: Any) -> None:
        """Ask once whether it is there, without the library's patience; without network the cache is all there is."""
        try:
            hub.HfApi().repo_info(self.name, repo_type=self.kind, revision=self.revision, timeout=WAIT)
            self._reached = True
        except hub.errors.HfHubHTTPError:
            raise
        except Exception:  # whatever keeps this machine from the Hub
            self._reached = False
        self._asked = True

    def push(self, files: Mapping[str, Path | bytes], message: str, *, private: bool = False) -> str:
        """Write files into it, made where there is none, as one commit; its address. Raises HubError."""
        hub = _library(self.name)
        with self._said("it"):
            api = hub.HfApi()
            address = api.create_repo(self.name, repo_type=self.kind, private=private, exist_ok=True)
            operations = [hub.CommitOperationAdd(name, content) for name, content in files.items()]
            api.create_commit(self.name, operations, commit_message=message, repo_type=self.kind)
        return str(address)

    @contextmanager
    def _said(self, file: str) -> Iterator[None]:
        """Say in one line what went wrong with a file, or with all of it."""
        from huggingface_hub import constants, errors

        what = f"{self.kind} {self.name} at {constants.ENDPOINT}"
        try:
            yield
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            wanted = what if self.revision is None else f"{what}, or it has no {self.revision}"
            raise HubError(f"there is no {wanted}; if it is private, log in with: hf auth login") from error
        except errors.LocalEntryNotFoundError as error:
            raise HubError(f"{what}: {file} is not in the cache, and the Hub is out of reach") from error
        except errors.EntryNotFoundError as error:
            raise HubError(f"{what} holds no {file}: it was not made by save_pretrained or push_to_hub") from error
        except Exception as error:  # of its protocol, of the network
            raise HubError(f"{what}: {file} cannot be had ({reason(error)})") from error


def _library(wanted: str) -> Any:
    """huggingface_hub. Raises HubError where it is not installed."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise HubError(f"{wanted} is of the Hub: that needs an extra: pip install 'neural-graphs[hub]'") from error
    return huggingface_hub
