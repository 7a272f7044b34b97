#!/usr/bin/env bats
# scripts/pack-logs on real files, among them one that a process has open.

setup() {
    pack_logs=$BATS_TEST_DIRNAME/../../scripts/pack-logs
    logs=$BATS_TEST_TMPDIR/logs
    packed=$logs/packed
    mkdir "$logs"
    yesterday=$(date --date yesterday +%F)
    today=$(date +%F)
}

# write FILE TEXT: a log that was written an hour ago.
write() {
    printf '%s\n' "$2" >"$logs/$1"
    touch --date '1 hour ago' "$logs/$1"
}

@test "logs of past days are packed, today's and others' files stay" {
    write "worker-$yesterday.log" one
    write "worker-$yesterday.1.log" two
    write "daemon-2026-01-31.log" old
    write "worker-$today.log" now
    write "notes.log" mine
    run "$pack_logs" --dir "$logs" --keep-days 100000
    [ "$status" -eq 0 ]
    [ -z "$output" ]
    [ "$(ls "$logs")" = "$(printf '%s\n' notes.log packed "worker-$today.log")" ]
    [ "$(zcat "$packed/worker-$yesterday.log.gz")" = one ]
    [ "$(zcat "$packed/worker-$yesterday.1.log.gz")" = two ]
    [ "$(zcat "$packed/daemon-2026-01-31.log.gz")" = old ]
}

@test "packs are as private as the logs" {
    write "worker-$yesterday.log" one
    chmod 640 "$logs/worker-$yesterday.log"
    "$pack_logs" --dir "$logs"
    [ "$(stat --format %a "$packed/worker-$yesterday.log.gz")" = 640 ]
}

@test "twice is as good as once" {
    write "worker-$yesterday.log" one
    "$pack_logs" --dir "$logs"
    before=$(sha256sum "$packed"/*)
    "$pack_logs" --dir "$logs"
    [ "$(sha256sum "$packed"/*)" = "$before" ]
}

@test "one that was killed before it removed the log is made up for without doubling a line" {
    write "worker-$yesterday.log" one
    cp --preserve "$logs/worker-$yesterday.log" "$BATS_TEST_TMPDIR/kept"
    "$pack_logs" --dir "$logs"
    cp --preserve "$BATS_TEST_TMPDIR/kept" "$logs/worker-$yesterday.log"
    printf 'half a pack' >"$packed/worker-$yesterday.log.gz.part"
    "$pack_logs" --dir "$logs"
    [ "$(zcat "$packed/worker-$yesterday.log.gz")" = one ]
    [ ! -e "$logs/worker-$yesterday.log" ]
    [ ! -e "$packed/worker-$yesterday.log.gz.part" ]
}

@test "a log that comes back late joins its pack" {
    write "worker-$yesterday.log" one
    "$pack_logs" --dir "$logs"
    write "worker-$yesterday.log" late
    "$pack_logs" --dir "$logs"
    [ "$(zcat "$packed/worker-$yesterday.log.gz")" = "$(printf 'one\nlate')" ]
    [ ! -e "$logs/worker-$yesterday.log" ]
}

@test "a log that is being written is left for the next time" {
    write "worker-$yesterday.log" one
    touch "$logs/worker-$yesterday.log"
    run "$pack_logs" --dir "$logs"
    [ "$status" -eq 0 ]
    [[ $output == *"is being written"* ]]
    [ "$(cat "$logs/worker-$yesterday.log")" = one ]
}

@test "no line of a process that goes on writing is lost or doubled" {
    log=$logs/worker-$yesterday.log
    : >"$log"
    # As ssync does: append to the open file; when its name is gone, begin it anew.
    (
        exec 4>>"$log"
        for n in {1..3000}; do
            if [ "$(stat --dereference --format %h /dev/fd/4)" = 0 ]; then exec 4>>"$log"; fi
            echo "line $n" >&4
        done
    ) 3>&- &
    writer=$!
    while kill -0 "$writer" 2>/dev/null; do
        "$pack_logs" --dir "$logs" --quiet-secs 0
    done
    wait "$writer"
    "$pack_logs" --dir "$logs" --quiet-secs 0
    [ ! -e "$log" ]
    zcat "$packed/worker-$yesterday.log.gz" >"$BATS_TEST_TMPDIR/all"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/all")" = 3000 ]
    [ "$(sort -u "$BATS_TEST_TMPDIR/all" | wc -l)" = 3000 ]
}

@test "three months are kept, by the day in the name" {
    mkdir "$packed"
    for days in 1 92 93 94 400; do
        name=worker-$(date --date "$days days ago" +%F).log.gz
        echo x | gzip >"$packed/$name"
    done
    echo mine >"$packed/mine.gz"
    "$pack_logs" --dir "$logs"
    [ "$(find "$packed" -name 'worker-*' | wc -l)" = 3 ]
    [ ! -e "$packed/worker-$(date --date '94 days ago' +%F).log.gz" ]
    [ -e "$packed/worker-$(date --date '93 days ago' +%F).log.gz" ]
    [ -e "$packed/mine.gz" ]
}

@test "a log that cannot be packed stays, is named, and does not keep the others" {
    write "a-$yesterday.log" one
    write "b-$yesterday.log" two
    mkdir -p "$packed/a-$yesterday.log.gz.part"
    run "$pack_logs" --dir "$logs"
    [ "$status" -eq 1 ]
    [[ $output == *"a-$yesterday.log could not be packed"* ]]
    [ -e "$logs/a-$yesterday.log" ]
    [ "$(zcat "$packed/b-$yesterday.log.gz")" = two ]
}

@test "two at once do not disturb each other" {
    for n in {1..6}; do write "w$n-$yesterday.log" "text $n"; done
    "$pack_logs" --dir "$logs" 3>&- &
    "$pack_logs" --dir "$logs" 2>/dev/null
    wait
    [ "$(zcat "$packed"/*.gz | sort -u | wc -l)" = 6 ]
    [ "$(zcat "$packed"/*.gz | wc -l)" = 6 ]
}

@test "no logs are no failure, wrong usage is one" {
    run "$pack_logs" --dir "$BATS_TEST_TMPDIR/none"
    [ "$status" -eq 0 ]
    run "$pack_logs" --dir
    [ "$status" -eq 2 ]
    run "$pack_logs" --keep-days three
    [ "$status" -eq 2 ]
    run "$pack_logs" --nosuch
    [ "$status" -eq 2 ]
}
