#!/usr/bin/env bats
# The Debian package, as far as it can be judged without building it: what it names is there, and
# purging does what it says. scripts/test-package installs it for real.

setup() {
    root=$BATS_TEST_DIRNAME/../..
    manifest=$root/controller/Cargo.toml
    # "source target" of every file that goes into the package.
    assets=$(sed -nE '/^assets = \[/,/^\]/s/^ *\["([^"]+)", "([^"]+)", .*/\1 \2/p' "$manifest")
}

@test "every file of the package is there, or is built" {
    [ "$(wc -l <<<"$assets")" -gt 15 ]
    while read -r source _; do
        case $source in
        target/release/ssync | ../target/package/*) ;;
        # shellcheck disable=SC2086 # a pattern
        *) compgen -G "$root/controller/$source" >/dev/null || { echo "$source"; false; } ;;
        esac
    done <<<"$assets"
}

@test "every path of ours that a unit names is in the package" {
    found=0
    while read -r path; do
        grep -q "/${path##*/} $(dirname "${path#/}")/$" <<<"$assets" || { echo "$path"; false; }
        found=$((found + 1))
    done < <(sed -nE 's,^Exec[A-Za-z]+=(/usr/[^ ]+).*,\1,p' "$root"/scripts/systemd/*.service)
    [ $found -eq 3 ]
    grep -q ' etc/default/ssync$' <<<"$assets"
}

# A maintainer script that has its home in the test's directory, and no systemd.
maintainer() {
    sed "s,/var/lib/ssync,$BATS_TEST_TMPDIR/home,; s,/run/systemd/system,$BATS_TEST_TMPDIR/none," \
        "$root/scripts/debian/$1" >"$BATS_TEST_TMPDIR/$1"
    run sh "$BATS_TEST_TMPDIR/$1" "$2"
    [ "$status" -eq 0 ]
}

@test "removing touches nothing, and purging what the program has written for itself" {
    home=$BATS_TEST_TMPDIR/home
    mkdir -p "$home"/{run,logs/packed,events}
    touch "$home"/{ssync.db,host.key,orders.key,logs/daemon.log,events/monitor.json}
    before=$(find "$home" | sort)
    maintainer prerm remove
    maintainer postrm remove
    maintainer prerm upgrade
    maintainer postrm upgrade
    [ "$(find "$home" | sort)" = "$before" ]
    maintainer postrm purge
    [[ $output == *"stay in $home"* ]]
    [ "$(cd "$home" && echo *)" = "host.key orders.key ssync.db" ]
}

@test "purging leaves no empty home" {
    mkdir -p "$BATS_TEST_TMPDIR/home/run"
    maintainer postrm purge
    [ -z "$output" ]
    [ ! -e "$BATS_TEST_TMPDIR/home" ]
    maintainer postrm purge
}
