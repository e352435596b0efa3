//! What a profile says of made-up stories.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use tracedat::Reader;
use tracedat::profile::{HookError, Profile, ProfileOptions};
use tracedat::testing::Story;

fn options(change: impl FnOnce(&mut ProfileOptions)) -> ProfileOptions {
    let mut options = ProfileOptions::default();
    change(&mut options);
    options
}

fn hooks(texts: &[&str]) -> ProfileOptions {
    options(|options| options.hooks = texts.iter().map(|text| text.parse().unwrap()).collect())
}

fn profile(story: &Story, options: &ProfileOptions) -> Result<String, HookError> {
    let Reader { metadata, mut records } = Reader::parse(story.build()).unwrap();
    let mut profile = Profile::new(&metadata, options)?;
    assert_eq!(profile.unusable_hooks(), []);
    while let Some(record) = records.next().unwrap() {
        profile.add(&record);
    }
    let mut text = Vec::new();
    profile.print(&mut text);
    Ok(String::from_utf8(text).unwrap())
}

fn check(story: &Story, options: &ProfileOptions, expected: &str) {
    assert_eq!(profile(story, options).unwrap(), expected);
}

const TIMED: &str = "(1) Total: 1000 Avg: 1000 Max: 1000";

#[test]
fn tasks_wait_until_woken_and_then_for_a_cpu() {
    let story = Story::default()
        .switch(1, 2, 2)
        .stack(1, &[1, 2])
        .wake(2, 1)
        .stack(2, &[3])
        .wake(2, 1)
        .switch(2, 0, 1)
        .wait(500)
        .switch(1, 0x101, 2);
    let expected = "
task: task1-1
  Event: sched_switch:D (1) Total: 2000 Avg: 2000 Max: 2000(ts:0.000003) Min:2000(ts:0.000003)
          | 
          + f1 (0xffffffff81001010)
              100% (1) time:2000 max:2000(ts:0.000002) min:2000(ts:0.000002) avg:2000
               f2 (0xffffffff81002010)
            
      
  Event: sched_wakeup:0x1 (1) Total: 3000 Avg: 3000 Max: 3000(ts:0.000006) Min:3000(ts:0.000006)
          | 
          + f3 (0xffffffff81003010)
              100% (1) time:3000 max:3000(ts:0.000004) min:3000(ts:0.000004) avg:3000
            
      

task: task2-2
  Event: sched_switch:R (1) Total: 1500 Avg: 1500 Max: 1500(ts:0.000008) Min:1500(ts:0.000008)
";
    check(&story, &ProfileOptions::default(), expected);
}

#[test]
fn stacks_with_a_common_beginning_are_a_tree() {
    let chains: [&[u64]; 6] = [&[1, 2, 3], &[1, 2, 4], &[1, 2, 4], &[5], &[1, 2], &[1, 2, 4, 6]];
    let story = chains.iter().fold(Story::default(), |story, chain| {
        // The second one has no event of its own.
        story.begin(7, 1, 0).stack(7, chain).stack(7, &[9])
    });
    let expected = "
task: <...>-7
  Event: begin:0x1 (6)
          | 
          + f1 (0xffffffff81001010)
          |   83% (5)
          |    f2 (0xffffffff81002010)
          |     | 
          |     + f4 (0xffffffff81004010)
          |     |   75% (3)
          |     |    f6 (0xffffffff81006010)
          |     | 
          |     + f3 (0xffffffff81003010)
          |         25% (1)
          |       
          | 
          | 
          + f5 (0xffffffff81005010)
              17% (1)
            
      
";
    check(&story, &ProfileOptions::default(), expected);
}

#[test]
fn interrupts_count_for_the_task_or_for_the_cpu() {
    let story =
        Story::default().irq_enter(1, 9).irq_exit(1, 9).on(1).irq_enter(2, 9).irq_exit(2, 9);
    let line = |at| format!("  Event: irq_handler_entry:0x9 {TIMED}(ts:{at}) Min:1000(ts:{at})\n");
    let (first, second) = (line("0.000002"), line("0.000004"));
    let by_task = format!("\ntask: <...>-1\n{first}\ntask: <...>-2\n{second}");
    check(&story, &ProfileOptions::default(), &by_task);
    let by_cpu = format!(
        "Global CPU[0] Events\n{first}Global CPU[1] Events\n{second}\
         \ntask: <...>-1\n\ntask: <...>-2\n"
    );
    check(&story, &options(|options| options.per_cpu = true), &by_cpu);
}

#[test]
fn system_calls_are_matched_by_task_and_number_the_last_start_first() {
    let story = Story::default()
        .sys_enter(1, 5)
        .sys_enter(2, 5)
        .sys_enter(1, 5)
        .sys_exit(1, 5)
        .sys_exit(2, 6)
        .sys_exit(1, 5)
        .sys_enter(1, -1)
        .sys_exit(1, -1);
    let expected = format!(
        "
task: <...>-1
  Event: sys_enter:5 (2) Total: 6000 Avg: 3000 Max: 5000(ts:0.000006) Min:1000(ts:0.000004)
  Event: sys_enter:-1 {TIMED}(ts:0.000008) Min:1000(ts:0.000008)

task: <...>-2
"
    );
    check(&story, &ProfileOptions::default(), &expected);
}

#[test]
fn what_may_have_ended_among_lost_records_is_not_measured() {
    let story = Story::default()
        .sys_enter(1, 5)
        .irq_enter(1, 3)
        .on(1)
        .irq_enter(2, 4)
        .lose()
        .begin(2, 0, 0)
        .irq_exit(2, 4)
        .on(0)
        .irq_exit(1, 3)
        .sys_exit(1, 5);
    let expected = "
task: <...>-1
  Event: irq_handler_entry:0x3 (1) Total: 4000 Avg: 4000 Max: 4000(ts:0.000006) Min:4000(ts:0.000006)

task: <...>-2
  Event: begin:0x0 (1)
";
    check(&story, &ProfileOptions::default(), expected);
}

#[test]
fn hooks_measure_from_event_to_event() {
    let story = Story::default().begin(1, 5, 3).on(1).end(3, 5, 8);
    let line = format!("  Event: begin:0x5 {TIMED}(ts:0.000002) Min:1000(ts:0.000002)\n");
    let tasks = |pids: &[i32]| {
        let task = |pid: &i32| format!("\ntask: <...>-{pid}\n");
        pids.iter().map(task).collect::<String>()
    };
    check(&story, &hooks(&["begin,a/end,a"]), &tasks(&[1, 3]));
    let of_another = format!("{}{line}", tasks(&[1, 3]));
    check(&story, &hooks(&["story:begin,a,b/story:end,a"]), &of_another);
    let global = format!("Global Events\n{line}{}", tasks(&[1, 3]));
    check(&story, &hooks(&["begin,a/end,a,g", "begin,b/end,b"]), &global);
    check(&story, &hooks(&["begin,a/end,a,gp"]), &tasks(&[1, 3]));
    let hooked = story.hook("begin,a/end,a,g");
    check(&hooked, &hooks(&["begin,b/end,b"]), &global);
}

#[test]
fn hooks_that_the_trace_cannot_have_are_named() {
    let story = Story::default().begin(1, 5, 3);
    let refused = |text: &str| profile(&story, &hooks(&[text])).unwrap_err().to_string();
    assert_eq!(refused("nope:begin,a/end,a"), "no event nope:begin in the trace");
    assert_eq!(refused("begin,a/end,c"), "event end has no integer field c");
    let Reader { metadata, .. } = Reader::parse(story.hook("begin/end").build()).unwrap();
    let profile = Profile::new(&metadata, &ProfileOptions::default()).unwrap();
    assert_eq!(profile.unusable_hooks(), [HookError::Form { text: "begin/end".to_owned() }]);
}

#[test]
fn tasks_of_one_name_are_one_if_the_scheduler_told_it() {
    // Both are called task1.
    let story = Story::default().switch(1, 1, 11).switch(11, 1, 1).begin(1, 4, 0).begin(9, 4, 0);
    let by_comm = options(|options| options.by_comm = true);
    let expected = format!(
        "
group: task1
  Event: sched_switch:S {TIMED}(ts:0.000002) Min:1000(ts:0.000002)
  Event: begin:0x4 (1)

task: <...>-9
  Event: begin:0x4 (1)
"
    );
    check(&story, &by_comm, &expected);
}
