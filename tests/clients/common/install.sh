# Functions for the suites' `run` scripts: installing a client if it is absent.

cache=${LEVERET_CLIENTS_CACHE:-$HOME/.cache/leveret-clients}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# debian_packages PACKAGE...: installs those that are not installed yet.
debian_packages() {
    local package missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=300
        install --no-install-recommends "${missing[@]}")
    as_root "${install[@]}" >&2 || { as_root apt-get -q update >&2 && as_root "${install[@]}" >&2; }
}

# python_venv NAME REQUIREMENTS: a virtual environment with just these requirements;
# sets $python to its interpreter.
python_venv() {
    local venv=$cache/$1
    python=$venv/bin/python
    cmp -s "$2" "$venv/requirements.txt" && return
    mkdir -p "$cache"
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 || { debian_packages python3-venv && python3 -m venv --clear "$venv" >&2; }
    "$python" -m pip install --quiet --disable-pip-version-check -r "$2" >&2
    cp "$2" "$venv/requirements.txt"
}
