#!/usr/bin/env bats
# scripts/watchdog beside real processes that are killed, stopped and missing.

setup_file() {
    root=$BATS_TEST_DIRNAME/../..
    built=${CARGO_TARGET_DIR:-$root/target}/debug
    export WATCHDOG=$root/scripts/watchdog PROBE=$built/ssync-probe SSYNC=$built/ssync
    for program in "$PROBE" "$SSYNC"; do
        if [ ! -x "$program" ]; then
            echo "$program is missing: cargo build --workspace --all-targets" >&2
            return 1
        fi
    done
}

setup() {
    export SSYNC_HOME=$BATS_TEST_TMPDIR/home
    mkdir -m 700 "$SSYNC_HOME"
    start="'$PROBE' controller '$SSYNC_HOME' >/dev/null 2>&1 3>&- &"
}

teardown() {
    # The loop first: it would start another controller.
    if [ -n "${loop:-}" ]; then kill -KILL "$loop" || true; fi
    controller=$(pid)
    if [ -n "$controller" ]; then kill -KILL "$controller" || true; fi
    # The memory of a home that is gone goes with the next start of anything.
    rm -rf "$SSYNC_HOME"
    "$PROBE" ring >/dev/null 3>&- || true
}

heartbeat() { "$SSYNC" heartbeat "$@"; }

# The controller's process; nothing when none runs.
pid() { heartbeat --older-than-secs 86400 | sed -nE 's/^(alive|hangs) pid=([0-9]+) .*/\2/p'; }

start_controller() {
    bash -c "$start"
    await alive
}

# Waits until the heartbeat is this word.
await() {
    for _ in {1..300}; do
        if [[ $(heartbeat || true) == "$1"* ]]; then return 0; fi
        sleep 0.1
    done
    echo "the controller is not $1: $(heartbeat)"
    return 1
}

watchdog() { "$WATCHDOG" --ssync "$SSYNC" --start "$start" --wait-secs 20 "$@" 3>&-; }

events() { cat "$SSYNC_HOME"/events/events-*.jsonl 2>/dev/null || true; }

@test "a controller that lives is left alone" {
    start_controller
    before=$(pid)
    run watchdog
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    [ "$(pid)" = "$before" ]
    [ -z "$(events)" ]
}

@test "one that was never started, or has left in good order, stays away" {
    run watchdog
    [ "$status" -eq 0 ]
    [ "$(heartbeat)" = stopped ]
    start_controller
    kill -TERM "$(pid)"
    await stopped
    run watchdog
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    [ "$(heartbeat)" = stopped ]
}

@test "one that was killed is restarted, with an alarm and a line in the log" {
    start_controller
    before=$(pid)
    kill -KILL "$before"
    await dead
    run watchdog
    [ "$status" -eq 0 ]
    [[ $output == *"the daemon had died; restarted, 1 of 5 times"* ]]
    [ -n "$(pid)" ]
    [ "$(pid)" != "$before" ]
    [[ $(events) == *'"what":"watchdog_restart"'*"it was restarted"* ]]
    grep -q "the daemon had died" "$SSYNC_HOME"/logs/watchdog-*.log
    run watchdog
    [ -z "$output" ]
}

@test "it is restarted after the host was, too" {
    start_controller
    kill -KILL "$(pid)"
    await dead
    # What is in memory does not survive.
    rm /dev/shm/ssync-"$(id -u)"-*-tasks || true
    [ "$(heartbeat || true)" = dead ]
    watchdog
    await alive
}

@test "one that hangs is ended and restarted" {
    start_controller
    before=$(pid)
    kill -STOP "$before"
    sleep 2.1
    [[ $(heartbeat --older-than-secs 2 || true) == "hangs pid=$before "* ]]
    run watchdog --older-than-secs 2
    [ "$status" -eq 0 ]
    [[ $output == *"the daemon hung"*"restarted"* ]]
    [ "$(pid)" != "$before" ]
    # Gone, but for what the host's first process has yet to collect.
    [[ $(sed -E 's/.*\) ([A-Z]) .*/\1/' "/proc/$before/stat" 2>/dev/null) =~ ^[ZX]?$ ]]
}

@test "after too many restarts it gives up loudly, once, and begins again when told" {
    start_controller
    for n in 1 2; do
        kill -KILL "$(pid)"
        await dead
        watchdog --restarts-max 2
        await alive
    done
    kill -KILL "$(pid)"
    await dead
    for _ in 1 2; do
        run watchdog --restarts-max 2
        [ "$status" -eq 1 ]
        [[ $output == *"giving up after 2 restarts"* ]]
        [ "$(heartbeat || true)" = dead ]
    done
    [ "$(events | grep -c watchdog_gave_up)" = 1 ]
    run watchdog --restarts-max 2 --forget
    [ "$status" -eq 0 ]
    await alive
}

@test "restarts long ago do not count, and a controller that is well again ends the matter" {
    start_controller
    kill -KILL "$(pid)"
    await dead
    printf '%s\n' 100 200 nonsense "$(date --date '2 hours ago' +%s)" >"$SSYNC_HOME/run/watchdog.restarts"
    : >"$SSYNC_HOME/run/watchdog.gave-up"
    watchdog --restarts-max 1
    await alive
    run watchdog
    [[ $output == *"well again"* ]]
    [ ! -e "$SSYNC_HOME/run/watchdog.gave-up" ]
}

@test "a start that fails is told" {
    start_controller
    kill -KILL "$(pid)"
    await dead
    start='exit 7'
    run watchdog --wait-secs 1
    [ "$status" -eq 1 ]
    [[ $output == *"exit code 7"* ]]
    [[ $output == *"not heard of within 1 s"* ]]
    [[ $(events) == *"not heard of within 1 s"* ]]
}

@test "with --loop it keeps the controller alive, and two loops do not share a home" {
    start_controller
    # The script itself is what the test's end kills, not a shell around it.
    (exec "$WATCHDOG" --ssync "$SSYNC" --start "$start" --loop --every-secs 1 2>/dev/null 3>&-) &
    loop=$!
    kill -KILL "$(pid)"
    await alive
    run watchdog --loop
    [ "$status" -eq 2 ]
    [[ $output == *"another watchdog"* ]]
    [ -z "$(watchdog)" ]
}

@test "wrong usage is refused" {
    for wrong in --nosuch --older-than-secs "--every-secs soon" "--ssync /no/such/program"; do
        # Split on purpose.
        # shellcheck disable=SC2086
        run "$WATCHDOG" $wrong
        [ "$status" -eq 2 ]
    done
}
