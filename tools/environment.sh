# Sourced by tools/quickstart and tools/test: finds a Python, makes .venv and installs the project there.
# Needs a POSIX shell and Python 3.11 or later with venv; nothing else, and no rights.
#
#   prepare run     what the commands need
#   prepare test    that, and what the tests need
#
# An environment whose stamp still names this pyproject.toml, this Python and this folder is used as it is.

venv=.venv
PIP_DISABLE_PIP_VERSION_CHECK=1
PIP_NO_INPUT=1
export PIP_DISABLE_PIP_VERSION_CHECK PIP_NO_INPUT
unset PIP_USER PYTHONHOME PYTHONPATH

say() { printf '\n==> %s\n' "$*"; }
warn() { printf '    note: %s\n' "$*" >&2; }
fail() {
    printf '\nerror: %s\n' "$*" >&2
    exit 2
}

# The first interpreter that is new enough; $PYTHON is tried first and alone.
find_python() {
    seen=
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        command -v "$name" >/dev/null 2>&1 || continue
        seen="$seen $name"
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$(command -v "$name")
            return
        fi
    done
    if [ -n "$seen" ]; then
        fail "Maestro needs Python 3.11 or later, and none of$seen is; install one, or name it: PYTHON=… $0"
    fi
    fail "Maestro needs Python 3.11 or later and found none on PATH; install one, or name it: PYTHON=… $0"
}

make_venv() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python has no venv module with pip; on Debian and Ubuntu: apt-get install python3-venv"
    if [ -e "$venv" ] && [ ! -e "$venv/pyvenv.cfg" ]; then
        fail "$PWD/$venv is there but is no Python environment; move it away"
    fi
    say "Making the environment $venv with $("$python" --version 2>&1) ($python)"
    "$python" -m venv --clear "$venv" || fail "no environment could be made in $PWD/$venv"
}

install() {
    attempt=1
    until "$venv/bin/python" -m pip install --quiet --retries 5 --timeout 30 --editable "$1"; do
        [ "$attempt" -lt 3 ] ||
            fail "the packages could not be installed (see above); is there a network, or a proxy to set?"
        warn "that did not work, trying again in $((attempt * 5)) s"
        sleep $((attempt * 5))
        attempt=$((attempt + 1))
    done
}

# What an environment is made of. Test needs include run needs, so its stamp serves both.
stamp() { { printf '%s\n' "$PWD" && cksum <pyproject.toml && "$venv/bin/python" --version; } 2>&1; }
stamped() { [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.ready-for-$1" 2>/dev/null)" = "$(stamp)" ]; }

prepare() {
    if stamped test || { [ "$1" = run ] && stamped run; }; then
        say "Using the environment $venv (pyproject.toml has not changed)"
        return
    fi
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        find_python
        make_venv
    fi
    rm -f "$venv/.ready-for-run" "$venv/.ready-for-test"
    if [ "$1" = test ]; then
        say "Installing Maestro, its dependencies and the tools of its tests into $venv"
        install '.[test]'
    else
        say "Installing Maestro and its dependencies into $venv"
        install .
    fi
    stamp >"$venv/.ready-for-$1"
}
