#!/usr/bin/env bash
# Shows that the models find bugs: each line puts one bug into the code that ships, in a build for
# model checks, and names the model that has to fail for it. Fails when a bug survives.
set -euo pipefail
cd "$(dirname "$0")/.."

export RUSTFLAGS="--cfg dtls_session_loom --cfg crossbeam_loom"
models=$(cargo test --locked --profile loom --package dtls-session-loom-tests \
    --target-dir target/loom --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*dtls_session_loom_tests[^"]*\)".*/\1/p' | tail -n 1)
[ -x "$models" ] || { echo 'the models do not build' >&2; exit 1; }

survived=0 found=0
while IFS='|' read -r bug model; do
    [ -n "$bug" ] || continue
    bug=$(sed 's/ *$//' <<<"$bug") model=${model// /}
    "$models" --list 2>/dev/null | grep -x "$model: test" >/dev/null ||
        { echo "no such model: $model" >&2; exit 1; }
    # Bugs crash: their noise is not wanted, and neither is a core.
    if (ulimit -c 0; DTLS_SESSION_MUTANT=$bug timeout 240 "$models" --exact "$model") \
        >/dev/null 2>&1; then
        echo "SURVIVED  $bug ($model)"
        survived=$((survived + 1))
    elif [ $? -eq 124 ]; then
        echo "SURVIVED  $bug ($model did not end)"
        survived=$((survived + 1))
    else
        echo "found     $bug ($model)"
        found=$((found + 1))
    fi
done <<'BUGS'
lane.rs fetch_or split               | strike::of_two_workers_one_wins
lane.rs fetch_add split              | serials::no_serial_is_given_twice
lane.rs fetch_max split              | serials::the_latest_expiry_counts
lane.rs fetch_update split           | budget::lanes_that_grow_at_once_stay_within_the_limit
the loser's reservation is kept      | growth::no_strike_is_lost_when_two_grow_the_same_chunk
once_box.rs load relaxed             | once_box::a_reader_sees_nothing_or_all_of_it
once_box.rs compare_exchange relaxed | once_box::two_set_it_and_both_see_the_first
once_box.rs compare_exchange split   | growth::no_strike_is_lost_when_two_grow_the_same_chunk
recorder.rs compare_exchange split   | recording::of_three_recorders_of_one_flight_one_is_first
newer turn ignored                   | recording::slow_recorders_of_an_expiring_slice_agree
wiped before grace                   | wiping::a_retired_key_stays_until_its_last_reader_has_left
array read relaxed                   | epoch_cell::a_reader_sees_whole_values_that_stay_until_it_leaves
epoch_cell.rs load relaxed           | epoch_cell::what_a_reader_did_comes_before_the_writer_drops_it
exhausted key replaced twice         | exhaustion::two_exhausted_workers_share_the_next_key
counters are shared                  | counters::two_workers_lose_no_count
strike before binder                 | admission::a_bad_binder_uses_nothing_up
ticket_key.rs load relaxed           | retirement::the_last_expiry_is_final_when_sealing_has_ended
ticket_key.rs store relaxed          | retirement::the_last_expiry_is_final_when_sealing_has_ended
ticket_key.rs fetch_add split        | retirement::keys_that_wait_are_counted_while_others_go
BUGS
echo "$found bugs found, $survived survived"
[ "$survived" -eq 0 ]
