"""The tree that snapshots are measured on: small files as npm installs them, two large files, a git repository.

Without npm or a network the small files are generated; the table says which. The tree is created once for all rounds.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

SMALL_FILES = 36_000
LARGE_BYTES = 300 * 10**6
GIT_BYTES = 400 * 10**6
PACKAGES = (
    "typescript", "webpack", "eslint", "next", "react-dom", "@babel/preset-env", "@angular/core",
    "@angular/compiler-cli", "puppeteer-core",
    "jest", "lodash", "rxjs", "three", "date-fns", "core-js", "vite", "svelte", "vue", "prettier", "mocha", "express",
    "@aws-sdk/client-s3", "@mui/icons-material", "antd", "moment", "socket.io", "graphql",
)  # fmt: skip
_NPM_S = 600
_WORDS = 4000


def make(tree: Path, cache: Path, scale: float) -> str:
    """Create the tree at `scale` of its full size; returns in words what its small files are."""
    tree.mkdir(parents=True)
    (tree / "modules").mkdir()
    count = round(SMALL_FILES * scale)
    kind = "from npm packages"
    sources = _npm_files(cache)
    sources = sources[:: max(1, len(sources) // count)][:count]  # spread over all packages
    found = len(sources)
    for source in sources:
        target = tree / "modules" / source.relative_to(cache)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)
    if found < count:
        kind = f"{found} from npm packages, the rest made up" if found else "made up, as npm has nothing here"
        _make_up(tree / "modules/made-up", count - found)
    _large_files(tree, round(LARGE_BYTES * scale))
    _repository(tree / "repository", round(GIT_BYTES * scale))
    return kind


def change(tree: Path, seed: int) -> None:
    """Change 1 %: append a line to one small file of a hundred, overwrite 1 % of a large file, commit."""
    chance = random.Random(seed)
    small = sorted(path for path in (tree / "modules").rglob("*") if path.is_file() and not path.is_symlink())
    for path in chance.sample(small, max(1, len(small) // 100)):
        with path.open("ab") as file:
            file.write(b"// changed %d\n" % seed)
    with (tree / "large.bin").open("r+b") as large:
        size = os.fstat(large.fileno()).st_size
        large.seek(chance.randrange(size * 9 // 10))
        large.write(chance.randbytes(size // 100))
    (tree / "repository/changed").write_text(f"{seed}\n")
    _git(tree / "repository", "add", "changed")
    _git(tree / "repository", "commit", "-qm", f"change {seed}")


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _npm_files(cache: Path) -> list[Path]:
    """The files of the packages, installed into the cache once; none where npm fails."""
    if not (cache / "node_modules").is_dir() and shutil.which("npm"):
        cache.mkdir(parents=True, exist_ok=True)
        argv = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--legacy-peer-deps", *PACKAGES]
        try:
            subprocess.run(argv, cwd=cache, capture_output=True, timeout=_NPM_S, check=True)
        except (subprocess.SubprocessError, OSError):
            shutil.rmtree(cache / "node_modules", ignore_errors=True)
    modules = cache / "node_modules"
    return [path for path in sorted(modules.rglob("*")) if path.is_file() and not path.is_symlink()]


def _make_up(folder: Path, count: int) -> None:
    """Generate files that look like code: as long, as nested and as compressible."""
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(2, 12))) for _ in range(_WORDS)]
    for number in range(count):
        place = folder / f"package-{number // 60}" / chance.choice(["lib", "src", "dist", "src/inner", "."])
        place.mkdir(parents=True, exist_ok=True)
        lines = max(1, round(chance.lognormvariate(3.6, 1.4)))
        text = "\n".join(" ".join(chance.choices(words, k=chance.randint(1, 12))) + ";" for _ in range(lines))
        (place / f"{chance.choice(words)}-{number}.js").write_text(text + "\n")


def _large_files(tree: Path, size: int) -> None:
    chance = random.Random(2)
    with (tree / "large.bin").open("wb") as random_file, (tree / "large.log").open("wb") as log:
        while random_file.tell() < size:
            random_file.write(chance.randbytes(min(1 << 20, size - random_file.tell())))
        number = 0
        while log.tell() < size:
            number += 1
            log.write(b"%d INFO request %x took %d us\n" % (number, chance.getrandbits(40), chance.getrandbits(16)))


def _repository(folder: Path, size: int) -> None:
    """Create a repository whose files are half incompressible; size: bytes of work tree and objects together."""
    folder.mkdir()
    chance = random.Random(3)
    _git(folder, "init", "-q")
    for number in range(10):
        for at in range(20):
            part = size // 10 // 20
            place = folder / f"part-{number}"
            place.mkdir(exist_ok=True)
            text = b"".join(b"%d line of text\n" % chance.getrandbits(16) for _ in range(part // 4 // 20))
            (place / str(at)).write_bytes(chance.randbytes(part * 2 // 5) + text)
        _git(folder, "add", "-A")
        _git(folder, "commit", "-qm", f"commit {number}")


def _git(folder: Path, *argv: str) -> None:
    named = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "gc.auto=0"]
    subprocess.run(["git", *named, *argv], cwd=folder, check=True, capture_output=True)
