"""Opens the place that a URL names: a folder, or a bucket."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from maestro.workspaces.objects.bucket_objects import BucketObjects
from maestro.workspaces.objects.contract import Objects
from maestro.workspaces.objects.folder_objects import FolderObjects


def opened(url: str) -> Objects:
    """The objects at a URL that `setting_values.archive_url` has let pass. Raises Invalid where a package lacks."""
    scheme, _, rest = url.partition("://")
    if scheme == "file":
        return FolderObjects(Path(unquote(rest)))
    bucket, _, prefix = rest.partition("/")
    return BucketObjects(bucket, prefix.strip("/"))
