#!/usr/bin/env bats
# The systemd units: understood by systemd, confined, and true to what is installed where.

setup() {
    units=$BATS_TEST_DIRNAME/../../scripts/systemd
}

@test "systemd understands every unit" {
    # The programs are not installed here; everything else is as it is delivered.
    for unit in "$units"/*; do
        sed -E 's,^(ExecStart=)/usr/(bin/ssync|lib/ssync/[a-z-]+),\1/bin/true,' "$unit" \
            >"$BATS_TEST_TMPDIR/${unit##*/}"
    done
    run systemd-analyze verify --man=no "$BATS_TEST_TMPDIR"/*
    [ "$status" -eq 0 ]
    [ -z "$output" ]
}

@test "every service is confined" {
    for unit in "$units"/*.service; do
        # 0 is best, 10 is everything allowed; 2.0 as a whole number is 20.
        run systemd-analyze security --offline=true --threshold=20 "$unit"
        [ "$status" -eq 0 ]
    done
}

@test "the command line shares memory with the services" {
    for unit in "$units"/*.service; do
        # Each of these would hide or remove segments, or make a living process look dead.
        run grep -E '^(PrivateIPC|DynamicUser|PrivateUsers)=(yes|true)|^RemoveIPC=(yes|true)' "$unit"
        [ "$status" -eq 1 ]
    done
    run grep -E '^(ProtectProc|ProcSubset)=' "$units/ssync.service" "$units/ssync-monitor.service"
    [ "$status" -eq 1 ]
    grep -qx KillMode=process "$units/ssync.service"
}

@test "every package file is there, and every unit in the package" {
    manifest=$BATS_TEST_DIRNAME/../../controller/Cargo.toml
    for unit in "$units"/*; do
        grep -qF "scripts/systemd/${unit##*/}" "$manifest"
    done
    for program in watchdog pack-logs; do
        grep -qF "scripts/$program" "$manifest"
    done
}
