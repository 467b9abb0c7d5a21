"""Values in scripts, with real shells as the judge: what is let through never becomes a command."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from maestro.model.workflow.checking.shell_context import misplaced
from maestro.model.workflow.template import Template, TemplateFailed

SHELLS = [found for shell in ("sh", "bash") if (found := shutil.which(shell))]
EVIL = (
    "$(echo >HIT)",
    "`echo >HIT`",
    "'; echo >HIT; '",
    '"; echo >HIT; "',
    "x\necho >HIT\n",
    "'\"$(echo >HIT)\"'",
    "a[$(echo >HIT)]",
)


@pytest.mark.parametrize(
    ("script", "inside"),
    [
        ("echo {{ v }}", ""),
        ("echo a{{ v }}b > {{ v }}", ""),
        ("x={{ v }}; for i in {{ v }}; do echo $i; done", ""),
        ("echo $(cat {{ v }})", ""),
        ("(cd {{ v }} && ls)", ""),
        ("echo \"a\" {{ v }} 'b' {{ v }}", ""),
        ("case {{ v }} in a) echo {{ v }};; esac", ""),
        ("echo \\\\{{ v }}", ""),
        ("cat <<<{{ v }}", ""),
        ("{% if true %}echo {{ v }}{% endif %}", ""),
        ("echo $'a\\'' {{ v }}", "a script with $'…', which shells read differently"),
        ("cat <<E\nx\nE\necho {{ v }}", ""),
        ("echo \"'{{ v }}'\"", "double quotes"),
        ("echo '{{ v }}'", "single quotes"),
        ('echo "$(echo {{ v }})"', "double quotes"),
        ("echo `echo {{ v }}`", "backticks"),
        ("cat <<E\n{{ v }}\nE", "a heredoc"),
        ("cat <<'E'\n{{ v }}\nE", "a heredoc"),
        ("cat <<-E\n\tx\n\tE {{ v }}\n\tE\n", "a heredoc"),
        ("echo $(( {{ v }} ))", "$(( ))"),
        ("(( {{ v }} ))", "$(( ))"),
        ("echo ${x:-{{ v }}}", "${ }"),
        ("# {{ v }}", "a comment"),
        ("echo \\{{ v }}", "an escape"),
        ("echo a \\\n# {{ v }}", "a comment"),
        ("cat <<E{{ v }}\nx", "a heredoc's mark"),
        ("cat <<{{ v }}\nx", "a heredoc's mark"),
        ("echo ${{ v }}", "an expansion"),
        ("echo $'{{ v }}'", "single quotes"),
        ('echo "$(case x in a) echo "b {{ v }}";; esac)"', "double quotes"),
    ],
)
def test_where_a_value_is_a_word_and_where_not(script: str, inside: str) -> None:
    found = misplaced(script)
    assert ([one.inside for one in found] or [""]) == [inside]
    assert all(script.startswith("{{", one.offset) for one in found)


PIECES = st.lists(
    st.sampled_from(
        [
            "echo ", "{{ v }}", " ", "'", '"', "`", "\\", "\n", ";", "$(", ")", "(", "((", "))", "$((", "${x:-", "}",
            "#", "<<E", "\nE\n", "<<'E'", "case x in x) ", " ;; esac", "$", "a", "x=", "&&", "<<<", "esac", "$'", "|",
            " cat ", "\\\n",
        ]
    ),
    min_size=1,
    max_size=14,
)  # fmt: skip


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(PIECES, st.sampled_from(EVIL))
def test_what_is_let_through_never_becomes_a_command(pieces: list[str], evil: str) -> None:
    script = "".join([*pieces, "{{ v }}"] if "{{ v }}" not in pieces else pieces)
    if misplaced(script):
        return
    with suppress(TemplateFailed):
        judge(script, evil)


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("script", ["echo {{ v }}", "echo $(echo {{ v }})", "cat <<E\nx\nE\necho {{ v }}", "x={{ v }}"])
def test_a_word_stays_a_word(script: str, evil: str) -> None:
    judge(script, evil)


def judge(script: str, evil: str) -> None:
    """Run a script with an evil value in the shells: the value must not be executed."""
    run_in_shells(Template(script.replace("{{ v }}", "{{ vars.v }}"), "script").render({"vars": {"v": evil}}))


def run_in_shells(rendered: str) -> None:
    """Run a script in the shells, as steps do: it must not do what its values say.

    With -e, since bash without it goes on with the next line, of a value even, behind what is no syntax: `x=(({{ v }}`.
    """
    with tempfile.TemporaryDirectory() as folder:
        for shell in SHELLS:
            subprocess.run(
                [shell, "-ec", rendered], cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, timeout=10,
                env={"PATH": "/nonexistent"},
            )  # fmt: skip
            assert not (Path(folder) / "HIT").exists(), (shell, rendered)


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize(
    "script",
    [
        "echo a # c\n{{- v }}",
        "echo a {% for i in [1, 2] %} {{ v }} # c{% endfor %}",
        'echo {% if v %}"{% else %}"{% endif %}{{ v }}"',
        'echo {% raw %}{{ " }}{% endraw %}{{ v }}"',
        'echo {{ "}}\'\'" }}"{{ v }}"',
        "echo {{ '\"' | raw }}{{ v }}\"",
        "cat <<E\n{% if v %}x\nE\n{% endif %}{{ v }}\n{% if not v %}E{% endif %}\nE\n",
    ],
)
def test_what_a_template_puts_into_quotes_is_refused_when_it_is_rendered(script: str, evil: str) -> None:
    template = Template(script.replace(" v ", " vars.v ").replace("- v ", "- vars.v "), "script")
    try:
        rendered = template.render({"vars": {"v": evil}})
    except TemplateFailed as error:
        assert "could become a command" in error.what
    else:
        run_in_shells(rendered)


@pytest.mark.parametrize(
    ("script", "value", "told"),
    [
        ("echo {{ vars.v }}>f; cat f", "2", "2\n"),
        ("A=1; AB=leak; echo $A{{ vars.v }}", "B", "1B\n"),
        ("{{ vars.v }} 2>/dev/null || echo none", "A=1", "none\n"),
        ("echo $((1<<2)) {{ vars.v }}", "x", "4 x\n"),
        ("X=abc; echo {% raw %}${#X}{% endraw %} {{ vars.v }}", ["a b", "c'"], "3 a b c'\n"),
    ],
)
def test_a_value_is_text_wherever_it_stands(script: str, value: object, told: str, tmp_path: Path) -> None:
    template = Template(script, "script")
    assert not template.problems
    rendered = template.render({"vars": {"v": value}})
    for shell in SHELLS:
        assert subprocess.run([shell, "-c", rendered], cwd=tmp_path, capture_output=True, text=True).stdout == told


def test_a_count_of_the_shell_says_what_to_write() -> None:
    assert "{% raw %}" in Template("echo ${#X}", "script").problems[0].mend
