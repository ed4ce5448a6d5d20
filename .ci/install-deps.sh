#!/bin/sh
# Installs what the build and the tests need, and only what is missing. With
# everything there it changes nothing and needs no root. It asks no questions.
set -eu

# With the word `tests`, what only the tests need too; with `bench`, the benchmarks' peers.
for_tests=
for_bench=
case "${1:-}" in
tests) for_tests=yes ;;
bench) for_bench=yes ;;
esac

has() { command -v "$1" >/dev/null 2>&1; }

# The same places as the embedded server looks in; Debian keeps the server's
# programs out of PATH.
has_postgres_server() {
    if [ -n "${CPM_PG_BIN:-}" ]; then
        [ -x "$CPM_PG_BIN/initdb" ] && [ -x "$CPM_PG_BIN/postgres" ]
        return
    fi
    if has initdb && has postgres; then return 0; fi
    for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
        if [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ]; then return 0; fi
    done
    return 1
}

# Debian keeps it with the server's programs.
has_pgbench() {
    if has pgbench; then return 0; fi
    for dir in "${CPM_PG_BIN:-/nowhere}" /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
        if [ -x "$dir/pgbench" ]; then return 0; fi
    done
    return 1
}

# Prints what is missing, one a line.
missing() {
    for program in make cmake g++ pkg-config psql; do
        has "$program" || echo "$program"
    done
    pkg-config --exists openssl 2>/dev/null || echo "OpenSSL's headers"
    pkg-config --exists zlib 2>/dev/null || echo "zlib's headers"
    if [ -n "$for_tests" ] && ! python3 -c "import ensurepip, venv" 2>/dev/null; then
        echo "Python with venv"
    fi
    has_postgres_server || echo "PostgreSQL's server (initdb, postgres)"
    if [ -n "$for_bench" ]; then has_pgbench || echo "pgbench"; fi
}

report() { missing | sed 's/^/  missing: /'; }

# Says in $as_root how to become root, if that is needed.
find_root() {
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if ! has sudo; then
            echo "install-deps: run this as root, or install sudo" >&2
            exit 1
        fi
        # -n: without a terminal a question for the password would never be answered.
        if [ -t 0 ]; then as_root=sudo; else as_root="sudo -n"; fi
    fi
}

install_with_apt() {
    find_root
    # Debian's package makes and starts a server of its own unless told not
    # to; we only want the programs.
    if [ ! -e /etc/postgresql-common ]; then
        $as_root mkdir -p /etc/postgresql-common/createcluster.d
        echo "create_main_cluster = false" |
            $as_root tee /etc/postgresql-common/createcluster.d/no-main-cluster.conf >/dev/null
    fi
    apt="$as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 -o Acquire::Retries=3"
    # One unreachable third-party list need not spoil the installation.
    $apt update </dev/null || echo "install-deps: apt-get update failed, going on" >&2
    $apt install -y --no-install-recommends \
        make cmake g++ pkg-config libssl-dev zlib1g-dev postgresql postgresql-client \
        python3 python3-venv ${for_bench:+postgresql-contrib} </dev/null
}

if ! has cargo && [ -x "${CARGO_HOME:-${HOME:-/root}/.cargo}/bin/cargo" ]; then
    echo "install-deps: cargo is installed but not in PATH: run . \"\$HOME/.cargo/env\"" >&2
    exit 1
elif ! has cargo; then
    echo "install-deps: Rust is missing; see https://rustup.rs, then run this again" >&2
    exit 1
fi

# The examples are tested with Python: its packages lie beside the build, nowhere else.
ensure_python_packages() {
    if [ -z "$for_tests" ]; then return 0; fi
    python="${CARGO_TARGET_DIR:-target}/python"
    if "$python/bin/python" -c "import grpc, grpc_tools, grpc_reflection" 2>/dev/null; then return 0; fi
    echo "install-deps: grpcio for the examples' tests, in $python"
    python3 -m venv --clear "$python"
    "$python/bin/pip" install --quiet --disable-pip-version-check --retries 3 \
        "grpcio>=1.60" "grpcio-tools>=1.60" "grpcio-reflection>=1.60"
}

# Puts a package of Debian into the current folder, without installing it.
download() {
    fetch="apt-get -o Acquire::Retries=3 download $1"
    if ! $fetch </dev/null; then
        # The lists may be old, or not there at all.
        find_root
        $as_root apt-get update </dev/null
        $fetch </dev/null
    fi
}

# The alert rules are tested in a real Prometheus. Installed, Debian's package would run
# one as a service; we only want the programs, so it is unpacked beside the build.
ensure_prometheus() {
    if [ -z "$for_tests" ]; then return 0; fi
    if has prometheus && has promtool; then return 0; fi
    prometheus="${CARGO_TARGET_DIR:-target}/prometheus"
    if "$prometheus/usr/bin/promtool" --version >/dev/null 2>&1; then return 0; fi
    if ! has apt-get; then
        echo "install-deps: no apt-get here; install prometheus with promtool, and run this again" >&2
        exit 1
    fi
    echo "install-deps: Prometheus for the alert rules' tests, in $prometheus"
    rm -rf "$prometheus"
    mkdir -p "$prometheus"
    (
        cd "$prometheus"
        download prometheus
        dpkg --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin
        rm -f prometheus_*.deb
        usr/bin/promtool --version >/dev/null
    )
}

# As Prometheus: only the program is wanted, not the service that Debian's package runs.
ensure_pgbouncer() {
    if [ -z "$for_bench" ]; then return 0; fi
    if has pgbouncer || [ -x /usr/sbin/pgbouncer ]; then return 0; fi
    pgbouncer="${CARGO_TARGET_DIR:-target}/pgbouncer"
    if "$pgbouncer/usr/sbin/pgbouncer" --version >/dev/null 2>&1; then return 0; fi
    if ! has apt-get; then
        echo "install-deps: no apt-get here; without pgbouncer in PATH the benchmarks have no such peer" >&2
        return 0
    fi
    echo "install-deps: PgBouncer for the benchmarks, in $pgbouncer"
    rm -rf "$pgbouncer"
    mkdir -p "$pgbouncer"
    (
        cd "$pgbouncer"
        download pgbouncer
        dpkg --fsys-tarfile pgbouncer_*.deb | tar -x ./usr/sbin
        if ! usr/sbin/pgbouncer --version >/dev/null 2>&1; then
            # Of what it depends on, the libraries.
            find_root
            libraries=$(dpkg-deb -f pgbouncer_*.deb Depends | tr ',' '\n' |
                sed -n 's/^ *\(lib[^ |]*\).*/\1/p')
            $as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 \
                install -y --no-install-recommends $libraries </dev/null
        fi
        rm -f pgbouncer_*.deb
        usr/sbin/pgbouncer --version >/dev/null
    )
}

ensure_what_lies_beside_the_build() {
    ensure_python_packages
    ensure_prometheus
    ensure_pgbouncer
}

if [ -z "$(missing)" ]; then
    ensure_what_lies_beside_the_build
    exit 0
fi

echo "install-deps:"
report

if ! has apt-get; then
    cat >&2 <<'END'
install-deps: no apt-get here; install these and run this again:
  dnf:  make cmake gcc-c++ pkgconf-pkg-config openssl-devel zlib-devel postgresql-server postgresql python3
  apk:  make cmake g++ pkgconf openssl-dev zlib-dev postgresql postgresql-client python3
  brew: make cmake pkg-config openssl@3 zlib postgresql python
END
    exit 1
fi

install_with_apt

if [ -n "$(missing)" ]; then
    echo "install-deps: still missing after the installation:" >&2
    report >&2
    exit 1
fi

ensure_what_lies_beside_the_build
