# shellcheck shell=bash
# What the scripts share: messages, asking, and setting up a machine. Sourced, never run.
#
# A rule of the set-up (which compiler is new enough, when a Vulkan driver counts as present, who may install) stands
# here and nowhere else. Works with bash 3.2, which macOS has.

set -euo pipefail
# shellcheck disable=SC2034 # for the scripts
called_from=$PWD # what a relative path on the command line counts from
this_script=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

assume_yes=false # --yes: install without asking
args=()          # what the command line holds besides --yes; expand as ${args[@]+"${args[@]}"} (bash 3.2, set -u)

say() { printf '%s\n' "$*"; }
note() { printf 'note: %s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Takes --yes and --help out of the command line. The help is the comment at the top of the calling script.
parse_args() {
    while [ $# -gt 0 ]; do
        case $1 in
            -y | --yes) assume_yes=true ;;
            -h | --help)
                sed -n '2,/^$/s/^# \{0,1\}//p' "$this_script"
                exit 0
                ;;
            --)
                args+=("$@")
                break
                ;;
            *) args+=("$1") ;;
        esac
        shift
    done
}

# True if the user agrees: --yes, or an answer at the terminal. Never waits where nobody can answer.
confirm() {
    $assume_yes && return 0
    [ -t 0 ] || return 1
    local answer
    printf '%s [y/N] ' "$1" >&2
    read -r answer || return 1
    case $answer in y | Y | yes | Yes) return 0 ;; *) return 1 ;; esac
}

# version_at_least 1.95.0 1.90: compares dotted numbers.
version_at_least() {
    awk -v have="$1" -v want="$2" 'BEGIN {
        n = split(have, h, "."); m = split(want, w, ".")
        for (i = 1; i <= (n > m ? n : m); i++) if (h[i] + 0 != w[i] + 0) exit !(h[i] + 0 > w[i] + 0)
    }'
}

# --- packages ---------------------------------------------------------------------------------------------------------

is_debian() { command -v apt-get > /dev/null && command -v dpkg-query > /dev/null; }

# The packages among the arguments that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || printf '%s ' "$package"
    done
}

# apt_install PACKAGE...: installs what is missing. Fails, without a word to the user's harm, where that is not Debian
# or Ubuntu, where nobody allowed it, or where apt-get fails; the caller says what that means. Never removes a package.
apt_install() {
    is_debian || return 1
    local missing as_root=()
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo > /dev/null || return 1
        confirm "Install ${missing% } with sudo apt-get?" || return 1
        as_root=(sudo)
        [ -t 0 ] || as_root=(sudo -n)
    fi
    say "installing ${missing% }"
    ${as_root[@]+"${as_root[@]}"} apt-get -qq update >&2 || note "apt-get update failed; going on with the lists that are there"
    # shellcheck disable=SC2086 # a list of package names
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends --no-remove $missing > /dev/null
}

# --- the compiler -----------------------------------------------------------------------------------------------------

# The oldest compiler that the workspace says it builds with.
required_rust() { sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' Cargo.toml | head -n 1; }

# rust_is_ready FOLDER: the cargo and the rustc of that folder (empty: of PATH) answer, and both are new enough.
rust_is_ready() {
    local tool version
    for tool in "${1:+$1/}cargo" "${1:+$1/}rustc"; do
        version=$("$tool" --version 2> /dev/null | awk '{ sub(/-.*/, "", $2); print $2 }') || return 1
        [ -n "$version" ] && version_at_least "$version" "$(required_rust)" || return 1
    done
}

# Makes `cargo` a command that is new enough, through rustup where it is not: asked first, or with --yes.
need_rust() {
    rust_is_ready "" && return
    local home_bin="${CARGO_HOME:-$HOME/.cargo}/bin" found needed by_hand
    if [ -x "$home_bin/cargo" ]; then
        PATH="$home_bin:$PATH"
        rust_is_ready "" && return
    fi
    found=$(cargo --version 2> /dev/null) || found="no working cargo"
    needed="Rust $(required_rust) or newer is needed, found: $found"
    if command -v rustup > /dev/null; then
        by_hand="rustup toolchain install stable && rustup default stable"
    else
        by_hand="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    fi
    confirm "$needed. Install the stable toolchain through rustup (https://rustup.rs), for this user?" \
        || die "$needed. Run: $by_hand (or this script again with --yes)"
    if command -v rustup > /dev/null; then
        rustup toolchain install stable --profile minimal
    else
        install_rustup
        PATH="$home_bin:$PATH"
    fi
    export RUSTUP_TOOLCHAIN=stable # a default of another version, and a folder's override, stay as they are
    rust_is_ready "" || die "rustup installed a toolchain, but cargo is still not what is needed: $(cargo --version 2>&1)"
}

install_rustup() {
    command -v curl > /dev/null || apt_install ca-certificates curl || die "rustup is fetched with curl: install curl first"
    local installer
    # The script that https://sh.rustup.rs leads to. Fetched as a whole before any of it runs.
    installer=$(curl --proto '=https' --tlsv1.2 -sSf https://static.rust-lang.org/rustup/rustup-init.sh) \
        || die "cannot fetch rustup; see https://rustup.rs for other ways to install it"
    sh -s -- -y --profile minimal --default-toolchain stable <<< "$installer"
}

# Rust links through the system's C compiler.
need_linker() {
    command -v cc > /dev/null && return
    case $(uname -s) in
        Linux)
            apt_install gcc libc6-dev && return
            die "no C compiler (cc), which Rust needs for linking. Install it (Debian, Ubuntu: apt-get install gcc libc6-dev; others: the package gcc)"
            ;;
        Darwin) die "no C compiler (cc), which Rust needs for linking. Run: xcode-select --install" ;;
        *) ;; # on Windows rustup takes care of the linker
    esac
}

# --- standard libraries of other targets ------------------------------------------------------------------------------

has_std() { [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ]; }

rustup_can_add=true
add_std() {
    $rustup_can_add && command -v rustup > /dev/null && confirm "Let rustup add the target $1?" || return 1
    if rustup target add "$1" && has_std "$1"; then return 0; fi
    note "rustup cannot add $1: its standard library will be built from source"
    rustup_can_add=false
    return 1
}

# Finds a cargo and a rustc whose standard library's source is at hand; the answer is in source_cargo, source_rustc.
source_cargo=
find_source() {
    [ -z "$source_cargo" ] || return 0
    local bin sysroot
    for bin in "" /usr/bin; do
        rust_is_ready "$bin" || continue
        sysroot=$("${bin:+$bin/}rustc" --print sysroot)
        [ -e "$sysroot/lib/rustlib/src/rust/library/std/Cargo.toml" ] || continue
        source_cargo=${bin:+$bin/}cargo source_rustc=${bin:+$bin/}rustc
        return 0
    done
    return 1
}

# find_std TARGET FROM_SOURCE: a cargo that builds for TARGET, in cargo_with_std, and what it is to be told, in std_flags. Where
# there is no standard library (or FROM_SOURCE is true), one will be built, if its source can be had; else this fails.
# shellcheck disable=SC2034 # for the scripts
find_std() {
    cargo_with_std=(cargo) std_flags=()
    $2 || ! { has_std "$1" || add_std "$1"; } || return 0
    find_source || { apt_install rustc-web cargo-web rust-web-src && find_source; } || return 1
    # Building a standard library is an unstable option of cargo, which RUSTC_BOOTSTRAP makes a stable release accept.
    cargo_with_std=(env RUSTC_BOOTSTRAP=1 RUSTC="$source_rustc" "$source_cargo")
    std_flags=(-Z "build-std=std,panic_abort")
}

# --- Vulkan -----------------------------------------------------------------------------------------------------------

# Whether a file that matches the pattern lies in `vulkan/FOLDER` of any place where the Vulkan loader looks.
in_vulkan_folders() {
    local folder=$1 pattern=$2 place file
    local places="/etc:/usr/local/etc:/usr/local/share:/usr/share:/run/opengl-driver/share"
    places="$places:${XDG_CONFIG_HOME:-$HOME/.config}:${XDG_CONFIG_DIRS:-/etc/xdg}"
    places="$places:${XDG_DATA_HOME:-$HOME/.local/share}:${XDG_DATA_DIRS:-/usr/local/share:/usr/share}"
    local IFS=:
    for place in $places; do
        for file in "$place/vulkan/$folder/"$pattern; do
            [ -e "$file" ] && return 0
        done
    done
    return 1
}

# A device that a hardware driver could drive. A driver's manifest alone says little: Mesa installs all of its drivers.
has_gpu_device() {
    local node
    for node in /dev/dri/renderD* /dev/nvidia[0-9]* /dev/dxg; do
        [ -e "$node" ] && return 0
    done
    return 1
}

has_vulkan_loader() {
    local ldconfig
    ldconfig=$(PATH="$PATH:/sbin:/usr/sbin" command -v ldconfig) || return 0 # cannot be told here: wgpu will say
    case "$("$ldconfig" -p 2> /dev/null)" in *libvulkan.so.1*) return 0 ;; esac
    local place IFS=:
    for place in ${LD_LIBRARY_PATH:-}; do
        [ -e "$place/libvulkan.so.1" ] && return 0
    done
    return 1
}

# A driver is there: named by the user, or Mesa's software driver, or a hardware driver together with hardware.
has_vulkan_driver() {
    [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ] && return 0
    in_vulkan_folders icd.d 'lvp_icd*.json' && return 0
    has_gpu_device && in_vulkan_folders icd.d '*.json'
}

# Makes sure that wgpu finds an adapter: Vulkan on Linux, where Mesa's software adapter (lavapipe) stands in for a GPU.
# macOS has Metal and Windows has DX12, with nothing to install.
need_adapter() {
    [ "$(uname -s)" = Linux ] || return 0
    # Without a session, as in a container, a library that Vulkan drivers load prints "error: XDG_RUNTIME_DIR is invalid".
    export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}"
    has_vulkan_loader && has_vulkan_driver && return 0
    if is_debian; then
        say "no Vulkan driver for a GPU of this machine: Mesa's software adapter will do"
        apt_install mesa-vulkan-drivers libvulkan1 || die "no Vulkan driver. Run: sudo apt-get install mesa-vulkan-drivers libvulkan1 (or this script again with --yes)"
        has_vulkan_loader && has_vulkan_driver && return 0
        die "mesa-vulkan-drivers and libvulkan1 are installed, but no Vulkan driver is to be found in /usr/share/vulkan/icd.d"
    fi
    die "no Vulkan driver. Install your GPU's driver, or Mesa's software adapter and the Vulkan loader:
  Fedora:    sudo dnf install mesa-vulkan-drivers vulkan-loader
  Arch:      sudo pacman -S vulkan-swrast vulkan-icd-loader
  openSUSE:  sudo zypper install libvulkan_lvp libvulkan1
  Alpine:    sudo apk add mesa-vulkan-swrast vulkan-loader
Then run this script again."
}

# The tests turn messages of the Vulkan validation layer into failures, where the layer is there.
want_validation_layer() {
    [ "$(uname -s)" = Linux ] || return 0
    in_vulkan_folders explicit_layer.d 'VkLayer_khronos_validation.json' && return 0
    apt_install vulkan-validationlayers && return 0
    note "the tests run without the Vulkan validation layer. To have it, install vulkan-validationlayers (Debian, Ubuntu, Fedora: that name)"
}
