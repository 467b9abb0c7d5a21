# Sourced by the scripts in tools: finds a Python, creates a virtual environment and installs the project there.
# Needs a POSIX shell and Python 3.11 or later with venv; nothing else, and no rights.
#
#   prepare run     the dependencies of the commands, exactly those of tools/locked/run.txt, in .venv
#   prepare test    these and the dependencies of the tests, those of tools/locked/test.txt, in .venv
#   prepare newest  the newest versions that the ranges of pyproject.toml allow, in .venv-newest
#
# An environment whose stamp matches these files, this Python and this folder is used as it is; `newest` is resolved
# each time. pip's output goes to install.log in the environment, and to the screen where pip fails.

venv=.venv
PIP_DISABLE_PIP_VERSION_CHECK=1
PIP_NO_INPUT=1
export PIP_DISABLE_PIP_VERSION_CHECK PIP_NO_INPUT
unset PIP_USER PYTHONHOME PYTHONPATH
unset PYTHONDONTWRITEBYTECODE # each of the thousands of processes of a test run would compile the project anew

say() { printf '\n==> %s\n' "$*"; }
warn() { printf '    note: %s\n' "$*" >&2; }
fail() {
    printf '\nerror: %s\n' "$*" >&2
    exit 2
}

# Sets $python to the first interpreter that is new enough; where $PYTHON is set, only that is tried.
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

# Runs pip, three times at most; its output is shown only after the last failure.
pip() {
    attempt=1
    until "$venv/bin/python" -m pip "$@" --retries 5 --timeout 30 >>"$venv/install.log" 2>&1; do
        if [ "$attempt" -ge 3 ]; then
            tail -n 20 "$venv/install.log" >&2
            fail "the packages could not be installed (see above, all of it in $PWD/$venv/install.log);" \
                "is there a network, or a proxy to set?"
        fi
        warn "that did not work, trying again in $((attempt * 5)) s"
        sleep $((attempt * 5))
        attempt=$((attempt + 1))
    done
}

# Installs exactly the packages of a lock file, checked by their hashes, and then the project.
install_locked() {
    pip install --require-hashes --requirement "tools/locked/$1.txt"
    pip install --no-deps --no-build-isolation --editable .
}

# Installs the project with the newest versions that its ranges allow.
install_newest() {
    pip install --upgrade --upgrade-strategy eager --editable '.[test]'
}

# Identifies the content of an environment. `test` includes `run`, so its stamp serves both.
stamp() {
    { printf '%s\n' "$PWD" && cksum pyproject.toml tools/locked/*.txt && "$venv/bin/python" --version; } 2>&1
}
stamped() { [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.ready-for-$1" 2>/dev/null)" = "$(stamp)" ]; }

prepare() {
    [ "$1" != newest ] || venv=.venv-newest
    if stamped test || { [ "$1" = run ] && stamped run; }; then
        say "Using the environment $venv (pyproject.toml and tools/locked have not changed)"
        return
    fi
    # Created again wherever it may contain other packages, so that it contains only those of the lock file.
    if ! stamped run; then
        find_python
        make_venv
    fi
    rm -f "$venv/.ready-for-run" "$venv/.ready-for-test" "$venv/install.log"
    case $1 in
    run) what="Maestro and its dependencies" ;;
    test) what="Maestro, its dependencies and the tools of its tests" ;;
    newest) what="Maestro and the newest of all that it and its tests depend on" ;;
    esac
    say "Installing $what into $venv"
    if [ "$1" = newest ]; then
        install_newest
    else
        install_locked "$1"
        stamp >"$venv/.ready-for-$1"
    fi
}
