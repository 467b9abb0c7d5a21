"""Stand-ins for agents that are paid for, or newer than those that are pinned: they replay what was recorded of them.

A stand-in is a program that tells the version of `samples/<name>/VERSION`, and carries out a prompt of the form
`replay SAMPLE CODE [LINES]`: it prints the sample, or its first lines and then nothing for long, and ends with the
code. How it was called, and the prompt as it came, stand in files beside it.
"""

from __future__ import annotations

from pathlib import Path

from tests.agents.kilos import program

SAMPLES = Path(__file__).parent / "samples"

_PROGRAM = r"""
here="${0%/*}"
case "$1 $2" in
  "--version "*) cat "SAMPLES/VERSION"; exit ;;
  "agent list") printf 'code (primary)\nbuild (primary)\nplan (primary)\n'; exit ;;
esac
case " $* " in *" --help "*) exit ;; esac
echo "$@" > "$here/call"
file=
for word; do
  if [ "$file" = next ]; then file="$word"; fi
  if [ "$word" = --message-file ]; then file=next; fi
done
cat ${file:+"$file"} > "$here/prompt"
set -- $(tr -d '/' < "$here/prompt")
for file in "SAMPLES/$2".*; do
  case "$file" in
    *.stderr) cat "$file" >&2 ;;
    *) if [ -n "$4" ]; then head -n "$4" "$file"; exec sleep 600; else cat "$file"; fi ;;
  esac
done
exit "$3"
"""


def stand_in(name: str, folder: Path) -> Path:
    """The stand-in of an agent, in a folder of its own."""
    return program(folder / name / name, _PROGRAM.replace("SAMPLES", str(SAMPLES / name)))
