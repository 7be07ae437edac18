#!/usr/bin/env bash
# Shows that the models find bugs: each line puts one bug into the code that ships, in a build for
# model checks, and names a model that has to fail for it. Fails when a bug survives, when a model
# is not named, which would be one that finds nothing, or when a release knows of these bugs.
set -euo pipefail
cd "$(dirname "$0")/.."

build() {
    cargo test --locked --profile loom --package dtls-session-loom-tests \
        --target-dir target/loom --no-run "$@"
}

export RUSTFLAGS="--cfg dtls_session_loom --cfg crossbeam_loom"
build --quiet
models=$(build --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*dtls_session_loom_tests[^"]*\)".*/\1/p' | tail -n 1)
unnamed=$("$models" --list 2>/dev/null | sed -n 's/: test$//p')

survived=0 found=0
while IFS='|' read -r bug model; do
    [ -n "$bug" ] || continue
    bug=$(sed 's/ *$//' <<<"$bug") model=${model// /}
    "$models" --list 2>/dev/null | grep -x "$model: test" >/dev/null ||
        { echo "no such model: $model" >&2; exit 1; }
    unnamed=$(grep -vx "$model" <<<"$unnamed" || true)
    # Bugs crash: their noise is not wanted, and neither is a core.
    if { (ulimit -c 0; DTLS_SESSION_MUTANT=$bug timeout 240 "$models" --exact "$model"); } \
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
lane.rs fetch_or split               | strike::of_three_workers_one_wins
lane.rs fetch_or split               | strike::neighbours_leave_each_other_alone
lane.rs fetch_or split               | handover::a_ticket_is_accepted_before_the_handover_or_after_it
lane.rs fetch_or split               | handover::a_ticket_of_the_last_moment_is_accepted_once_at_most
lane.rs fetch_or split               | admission::a_flight_and_its_replay_on_two_workers
lane.rs fetch_add split              | serials::no_serial_is_given_twice
lane.rs fetch_max split              | serials::the_latest_expiry_counts
lane.rs fetch_update split           | budget::lanes_that_grow_at_once_stay_within_the_limit
lane.rs fetch_sub split              | budget::lanes_that_go_at_once_give_everything_back
the loser's reservation is kept      | growth::no_strike_is_lost_when_two_grow_the_same_chunk
once_box.rs load relaxed             | once_box::a_reader_sees_nothing_or_all_of_it
once_box.rs load relaxed             | growth::a_strike_during_growth_counts_or_does_nothing
once_box.rs compare_exchange relaxed | once_box::two_set_it_and_both_see_the_first
once_box.rs compare_exchange split   | growth::no_strike_is_lost_when_two_grow_the_same_chunk
once_box.rs compare_exchange-failing relaxed | once_box::two_set_it_and_both_see_the_first
recorder.rs compare_exchange split   | recording::of_three_recorders_of_one_flight_one_is_first
recorder.rs compare_exchange split   | recording::flights_that_race_for_a_bucket_are_each_first_once
recorder.rs compare_exchange split   | recording::a_full_bucket_evicts_nothing
newer turn ignored                   | recording::a_flight_is_not_accepted_again_when_its_slice_expires
newer turn ignored                   | recording::slow_recorders_of_an_expiring_slice_agree
wiped before grace                   | wiping::a_retired_key_stays_until_its_last_reader_has_left
wiped before grace                   | epoch_cell::the_old_value_goes_when_its_reader_has_left
retired before unlinked              | rotation::a_ticket_opens_whatever_rotates
retired before unlinked              | exhaustion::exhaustion_meets_rotation
sealing ended before grace           | rotation::a_key_stays_for_what_is_sealed_while_it_goes
array read relaxed                   | epoch_cell::a_reader_sees_whole_values_that_stay_until_it_leaves
epoch_cell.rs load relaxed           | epoch_cell::what_a_reader_did_comes_before_the_writer_drops_it
exhausted key replaced twice         | exhaustion::two_exhausted_workers_share_the_next_key
counter emptied between              | counters::a_sum_is_true_and_never_falls
counters are shared                  | counters::two_workers_lose_no_count
counters are shared                  | counters::who_takes_counters_over_loses_no_count
strike before binder                 | admission::a_bad_binder_uses_nothing_up
ticket_key.rs load relaxed           | retirement::the_last_expiry_is_final_when_sealing_has_ended
ticket_key.rs store relaxed          | retirement::the_last_expiry_is_final_when_sealing_has_ended
ticket_key.rs fetch_add split        | retirement::keys_that_wait_are_counted_while_others_go
BUGS
echo "$found times found, $survived times survived"
[ "$survived" -eq 0 ]
[ -z "$unnamed" ] || { echo "no bug shows what these are good for: $unnamed" >&2; exit 1; }

# The name of the variable that switches a bug on: in the models, and in nothing that ships.
grep -q DTLS_SESSION_MUTANT "$models"
RUSTFLAGS='' cargo build --quiet --release --locked --example gateway
gateway=$(.ci/target)/release/examples/gateway
[ -f "$gateway" ]
if grep -q DTLS_SESSION_MUTANT "$gateway"; then
    echo 'a release knows of these bugs' >&2
    exit 1
fi
