"""Opens the place that a URL names: a folder, or a bucket."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from maestro.workspaces.objects.bucket_objects import BucketObjects
from maestro.workspaces.objects.contract import Objects
from maestro.workspaces.objects.folder_objects import FolderObjects


def opened(url: str) -> Objects:
    """The objects at a URL that `setting_values.archive_url` has let pass. Raises Invalid where a package lacks."""
    folder = folder_of(url)
    if folder is not None:
        return FolderObjects(folder)
    bucket, _, prefix = url.partition("://")[2].partition("/")
    return BucketObjects(bucket, prefix.strip("/"))


def folder_of(url: str) -> Path | None:
    """The folder that a URL names; None for a bucket."""
    scheme, _, rest = url.partition("://")
    return Path(unquote(rest)) if scheme == "file" else None
