"""Objects in a bucket of an object store with the S3 API, through obstore (the extra `s3`).

Credentials and endpoint come from the AWS_* variables of this process, which the library reads. Each object is written
in one request, so that a writer that is killed leaves nothing behind: no upload in parts that somebody must abort.
Messages of the library may hold more than people should see: what is said here is made of the kind of the error.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from maestro import files
from maestro.model.errors import Invalid, Refused
from maestro.workspaces.objects.contract import SMALL_S, Absent, Unreached, allowed_s

T = TypeVar("T")

CHUNK_BYTES = 1 << 20
OBJECT_BYTES_MAX = 1 << 30
CONNECT_S = 5.0
RETRIES_S = 15.0
LACKING = (
    "install Maestro with its extra s3, in its folder: .venv/bin/python -m pip install '.[s3]', or as it was "
    "installed: uv tool install --force '.[s3]', pipx install --force '.[s3]'; or name a folder, file:///…"
)
MEND = "see to the AWS_* variables of the daemon, the bucket and the network, then try again"
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
WORDS = (
    (r"NoSuchBucket", "there is no such bucket"),
    (r"SignatureDoesNotMatch|InvalidAccessKeyId|ExpiredToken|InvalidToken", "it refuses the credentials"),
    (r"\b403\b|AccessDenied", "it forbids that"),
    (r"kind: Connect|error sending request|onnection refused|dns error", "nobody answers there"),
    (r"imed ?[Oo]ut|kind: Timeout", "it does not answer in time"),
    (r"metadata|credential", "there are no credentials"),
)
"""What a message of the library means; the first that is found in it."""


class BucketObjects:
    """The objects below a prefix of a bucket. See `Objects`."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.place = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._prefix = prefix
        try:
            import obstore
            from obstore import store
        except ImportError as error:
            what = "an archive in a bucket needs the package obstore"
            if not isinstance(error, ModuleNotFoundError):  # a build for another machine, or an older C library
                what += f", which cannot be loaded here: {str(error).splitlines()[0]}"
            raise Invalid(what, "MAESTRO_ARCHIVE_URL", LACKING) from None
        self._obstore: Any = obstore
        self._store: Any = store

    def put(self, name: str, source: Path | bytes) -> None:
        """See Objects."""
        content = source if isinstance(source, bytes) else files.content(source, OBJECT_BYTES_MAX)

        def write() -> None:
            self._obstore.put(self._opened(len(content)), name, content, use_multipart=False)

        self._asked(write)

    def get(self, name: str) -> Iterator[bytes]:
        """See Objects."""
        found = self._asked(lambda: self._obstore.get(self._opened(OBJECT_BYTES_MAX, reads=True), name), name)
        pieces = iter(found.stream(min_chunk_size=CHUNK_BYTES))
        while (piece := self._asked(lambda: next(pieces, None))) is not None:
            yield bytes(piece)

    def sizes(self, prefix: str) -> dict[str, int]:
        """See Objects."""
        listed: list[dict[str, Any]] = self._asked(lambda: self._obstore.list(self._opened(0), prefix).collect())
        return {str(one["path"]).removeprefix(f"{prefix}/"): int(one["size"]) for one in listed}

    def delete(self, name: str) -> None:
        """See Objects."""

        def remove() -> None:
            try:
                self._obstore.delete(self._opened(0), name)
            except FileNotFoundError:
                return

        self._asked(remove)

    def sweep(self, prefix: str) -> int:  # noqa: ARG002
        """Nothing: an object is there whole or not at all."""
        return 0

    def _opened(self, count: int, *, reads: bool = False) -> Any:
        """The bucket, for a request with about so many bytes. reads: it ends when nothing comes for a while."""
        limits: dict[str, Any] = {
            "timeout": timedelta(seconds=allowed_s(count)),
            "connect_timeout": timedelta(seconds=CONNECT_S),
        }
        if reads:
            limits["read_timeout"] = timedelta(seconds=SMALL_S)
        endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), "")
        if endpoint.startswith("http://"):
            limits["allow_http"] = True
        backoff = {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=3), "base": 2}
        retries = {"max_retries": 3, "retry_timeout": timedelta(seconds=RETRIES_S), "backoff": backoff}
        return self._store.S3Store(
            self._bucket, prefix=self._prefix or None, client_options=limits, retry_config=retries
        )

    def _asked(self, action: Callable[[], T], name: str = "") -> T:
        """What the action gives. Raises Absent for an object of that name, Unreached, Refused."""
        try:
            return action()
        except (FileNotFoundError, OSError, ValueError, self._obstore.exceptions.BaseError) as error:
            text = str(error)
            if isinstance(error, FileNotFoundError) and name and "NoSuchBucket" not in text:
                raise Absent(f"there is no {name}", self.place) from None
            what = next((word for pattern, word in WORDS if re.search(pattern, text)), "it failed")
            raised = Refused if what == WORDS[1][1] or what == WORDS[2][1] else Unreached
            raise raised(f"the shared archive cannot be used: {what}", self.place, MEND) from None
