# shellcheck shell=bash
# The set-up that Examples/quickstart.sh and Tests/run.sh share; source it.
#
#   setup_build    what a build and a run need: Swift, MPI, hwloc, pkg-config
#   setup_tests    what some tests need besides; what stays absent is skipped there
#   setup_launch   environment for mpirun on this machine
#
# Missing packages are installed with apt-get as root or through sudo; where
# that is not possible, setup_build says what to install and returns 1.
# VINE_SETUP_INSTALL=0 never installs anything.

setup_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

setup_say() { printf 'set-up: %s\n' "$*" >&2; }

# The Swift version that Package.swift asks for.
setup_swift_needed() { sed -n '1s/.*swift-tools-version: *//p' "$setup_root/Package.swift"; }

setup_swift() {
    local needed found
    needed=$(setup_swift_needed)
    if ! command -v swift >/dev/null; then
        setup_say "no Swift toolchain in PATH; vine-mpi needs Swift $needed or newer."
        setup_say "Get it from https://www.swift.org/install/linux/ (or load your site's module)"
        setup_say "and put its usr/bin directory into PATH."
        return 1
    fi
    found=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
    if [[ $(printf '%s\n' "$needed" "${found:-0}" | sort -V | head -n 1) != "$needed" ]]; then
        setup_say "found Swift ${found:-of an unknown version}; vine-mpi needs $needed or newer:"
        setup_say "https://www.swift.org/install/linux/"
        return 1
    fi
}

# Prints the Debian packages that a build still needs.
setup_missing() {
    local mpi=${VINE_MPI_PKGCONFIG:-ompi-c}
    if ! command -v pkg-config >/dev/null; then
        echo pkg-config
        [[ -e /usr/include/hwloc.h ]] || echo libhwloc-dev
        command -v mpicc >/dev/null || echo libopenmpi-dev
    else
        pkg-config --exists hwloc || echo libhwloc-dev
        pkg-config --exists "$mpi" || echo libopenmpi-dev
    fi
    command -v mpirun >/dev/null || echo openmpi-bin
}

# setup_apt PACKAGE...: installs them, 1 where that is not possible.
setup_apt() {
    local as_root=()
    [[ ${VINE_SETUP_INSTALL:-1} != 0 ]] || return 1
    command -v apt-get >/dev/null || return 1
    if [[ $(id -u) != 0 ]]; then
        sudo -n true 2>/dev/null || return 1
        as_root=(sudo -n)
    fi
    setup_say "installing $*"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        "$@" >/dev/null 2>&1 && return
    # The package lists may be absent or old.
    "${as_root[@]}" apt-get update -qq >/dev/null 2>&1 || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        "$@" >/dev/null
}

setup_build() {
    local missing
    setup_swift || return 1
    mapfile -t missing < <(setup_missing)
    ((${#missing[@]})) || return 0
    if setup_apt "${missing[@]}"; then
        mapfile -t missing < <(setup_missing)
        ((${#missing[@]})) || return 0
    fi
    setup_say "missing: ${missing[*]}"
    setup_say "Debian, Ubuntu: apt-get install ${missing[*]}"
    setup_say "Fedora, RHEL:   dnf install openmpi-devel hwloc-devel pkgconf-pkg-config"
    setup_say "with modules:   module load openmpi hwloc   (any MPI: build with CMake, see README.md)"
    if [[ -n ${VINE_MPI_PKGCONFIG:-} ]]; then
        setup_say "VINE_MPI_PKGCONFIG names the pkg-config module '$VINE_MPI_PKGCONFIG'"
    fi
    return 1
}

# One by one: a package that is not to be had takes no other test away.
setup_tests() {
    local pair
    for pair in ip:iproute2 python3:python3 cmake:cmake taskset:util-linux ps:procps \
        curl:curl bzip2:bzip2 xz:xz-utils zstd:zstd cc:gcc gfortran:gfortran bwa:bwa samtools:samtools bcftools:bcftools; do
        command -v "${pair%%:*}" >/dev/null || setup_apt "${pair#*:}" 2>/dev/null || true
    done
    python3 -m pip --version >/dev/null 2>&1 || setup_apt python3-pip 2>/dev/null || true
    [[ -e /usr/share/spades/test_dataset/reference_1K.fa.gz ]] || setup_apt spades 2>/dev/null || true
}

setup_launch() {
    if [[ $(id -u) == 0 ]]; then
        export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    fi
    # More ranks than cores: Open MPI refuses it by default, and its waiting
    # ranks would spin against the ones that work. (PRTE_: Open MPI 5.)
    if (($(nproc) < 8)); then
        export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
        export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
    fi
}
