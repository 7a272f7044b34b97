#!/usr/bin/env bats
# The options of scripts/test, in a tree of its own and with a cargo that only writes down how it was
# called.

setup() {
    tree=$BATS_TEST_TMPDIR/tree
    mkdir -p "$tree/scripts"
    cp "$BATS_TEST_DIRNAME/../../scripts/test" "$tree/scripts/test"
    export CARGO=$BATS_TEST_TMPDIR/cargo
    export CALLS=$BATS_TEST_TMPDIR/calls
    cat >"$CARGO" <<'CARGO'
#!/bin/sh
[ "$1" = test ] || exit 0
{ echo "$*"; env | grep -E '^(SSYNC_TEST|PROPTEST)_'; } >"$CALLS"
sleep "${CARGO_SLEEPS:-0}"
echo 'test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out'
CARGO
    chmod +x "$CARGO"
    # What the tests around this one were told.
    for name in $(env | sed -nE 's/^((SSYNC_TEST|PROPTEST)_[A-Z_]*)=.*/\1/p'); do
        unset "$name"
    done
}

# called NAME: the value of a variable that cargo test was called with.
called() {
    sed -n "s/^$1=//p" "$CALLS"
}

@test "the help names both forms and every variable that --long sets" {
    run "$tree/scripts/test" --help
    [ "$status" -eq 0 ]
    [[ $output == *"scripts/test --long [NAME]"* ]]
    for name in $(sed -nE 's/^ *export ((SSYNC_TEST|PROPTEST)_[A-Z_]*)=.*/\1/p' "$tree/scripts/test"); do
        [[ $output == *"$name"* ]]
    done
}

@test "the ordinary form sets nothing: its seeds are the fixed ones" {
    run "$tree/scripts/test" --no-install some_name
    [ "$status" -eq 0 ]
    grep -q -- '-- some_name$' "$CALLS"
    ! grep -qE '^(SSYNC_TEST|PROPTEST)_' "$CALLS"
}

@test "the long form sets every length and a fresh seed, which it prints" {
    run "$tree/scripts/test" --no-install --long some_name
    [ "$status" -eq 0 ]
    grep -q -- '-- some_name$' "$CALLS"
    [ "$(called SSYNC_TEST_CRASH_CASES)" = 5000 ]
    [ "$(called SSYNC_TEST_OPERATOR_CASES)" = 5000 ]
    [ "$(called SSYNC_TEST_FUZZ_INPUTS)" = 1000000 ]
    [ "$(called SSYNC_TEST_CHAOS_SECS)" = 1800 ]
    [ "$(called PROPTEST_CASES)" = 20000 ]
    seed=$(called SSYNC_TEST_SEED)
    [[ $seed =~ ^[0-9]+$ ]]
    [ "$(called PROPTEST_RNG_SEED)" = "$seed" ]
    [[ $output == *"SSYNC_TEST_SEED=$seed PROPTEST_RNG_SEED=$seed scripts/test --long"* ]]
    run "$tree/scripts/test" --no-install --long some_name
    [ "$(called SSYNC_TEST_SEED)" != "$seed" ]
}

@test "what is set already stays as it is" {
    SSYNC_TEST_SEED=7 SSYNC_TEST_CRASH_CASES=9 run "$tree/scripts/test" --no-install --long some_name
    [ "$status" -eq 0 ]
    [ "$(called SSYNC_TEST_SEED)" = 7 ]
    [ "$(called PROPTEST_RNG_SEED)" = 7 ]
    [ "$(called SSYNC_TEST_CRASH_CASES)" = 9 ]
}

@test "tests that hang are stopped, and that is a failure" {
    CARGO_SLEEPS=60 SSYNC_TEST_MINUTES=0.01 run "$tree/scripts/test" --no-install some_name
    [ "$status" -eq 1 ]
    [[ $output == *"the tests were stopped after 0.01 minutes"* ]]
}

@test "an option that is none is refused" {
    run "$tree/scripts/test" --longer
    [ "$status" -eq 2 ]
    [[ $output == *"unknown option --longer"* ]]
}
