#!/usr/bin/env bats
# What scripts/test-oracle takes as arguments. (tests/tests/all/oracle_script.rs runs all of it.)

setup() {
    script=$BATS_TEST_DIRNAME/../../scripts/test-oracle
    export SSYNC_TEST_ORACLE_PASSWORD=none
    # Whoever comes as far as building fails loudly.
    export CARGO=$BATS_TEST_TMPDIR/no-cargo
}

# refused ARGUMENT...: explains itself, and does nothing.
refused() {
    run "$script" "$@"
    [ "$status" -eq 2 ]
    [[ $output == *"scripts/test-oracle oracle://user@host:1521/service [REPORT]"* ]]
    [[ $output != *no-cargo* ]]
}

@test "without a URL of a user, a host and a service it explains itself" {
    refused
    refused --help
    refused mysql://user@host/db
    refused oracle://host:1521/service
    refused oracle://user@host:1521
    refused oracle://user@host:1521/service report more
}

@test "a password in the URL is not taken" {
    refused oracle://user:secret@host:1521/service
}

@test "rows and profile are checked before anything is done" {
    SSYNC_TEST_ORACLE_ROWS=many refused oracle://user@host:1521/service
    SSYNC_TEST_ORACLE_PROFILE=fast refused oracle://user@host:1521/service
}
