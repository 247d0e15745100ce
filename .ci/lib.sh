# Shared by the scripts here; sourced, not run.

fail() {
  printf '%s: error: %s\n' "${0##*/}" "$1" >&2
  [ $# -lt 2 ] || printf '%s: hint: %s\n' "${0##*/}" "$2" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n "$@"
  else fail "installing needs root" "run as root once: $*"
  fi
}

# install_package WHAT APT DNF APK PACMAN ZYPPER BREW: installs what is missing with the system's
# package manager.
install_package() {
  printf '%s: installing %s\n' "${0##*/}" "$1" >&2
  if command -v apt-get >/dev/null; then
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >&2
  elif command -v dnf >/dev/null; then as_root dnf install -y -q "$3" >&2
  elif command -v apk >/dev/null; then as_root apk add --quiet "$4" >&2
  elif command -v pacman >/dev/null; then as_root pacman -Sy --noconfirm --needed "$5" >&2
  elif command -v zypper >/dev/null; then as_root zypper --non-interactive --quiet install "$6" >&2
  elif command -v brew >/dev/null; then brew install --quiet "$7" >&2
  else fail "$1 is not installed, and there is no package manager that this script knows" "install $1 and run this again"
  fi
}
