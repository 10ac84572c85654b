use std::fs;

use super::*;
use crate::config::LogFormat;

/// Logs something in a directory of its own; what was written to the file, and to the audit file.
fn logged(change: impl FnOnce(&mut Log), work: impl FnOnce(&Logs)) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut log = Log {
        console: false,
        file: Some("l.log".into()),
        audit: Some("audit.log".into()),
        dir: dir.path().join("log"),
        ..Log::default()
    };
    change(&mut log);
    let (logs, collector) = set_up(&log).unwrap();
    let subscriber = tracing_subscriber::registry().with(collector);
    tracing::subscriber::with_default(subscriber, || work(&logs));
    logs.flush();
    let read = |name: &str| fs::read_to_string(dir.path().join("log").join(name)).unwrap_or_default();
    (read("l.log"), read("audit.log"))
}

#[test]
fn lines_go_to_the_file_and_stay_in_memory() {
    let (file, audit) = logged(
        |_| (),
        |logs| {
            tracing::warn!(target: "leveret::channel", code = 404_u64, "no queue");
            tracing::debug!(target: "leveret::channel", "not wanted");
            logs.flush();
            let tail = logs.tail(10);
            assert_eq!(tail.len(), 1);
            assert!(tail[0].ends_with("[warning] <channel> no queue code=404"), "{tail:?}");
        },
    );
    assert!(file.ends_with("[warning] <channel> no queue code=404\n") && file.lines().count() == 1, "{file}");
    assert_eq!(audit, "");
}

#[test]
fn levels_change_while_it_runs_and_json_is_json() {
    let (file, _) = logged(
        |log| log.file_format = LogFormat::Json,
        |logs| {
            let say = |n: u64| tracing::debug!(target: "leveret::queue", n, "said");
            say(1);
            logs.set_level(Some(Category::Queue), LogLevel::Debug);
            say(2);
            logs.set_level(None, LogLevel::Info);
            say(3);
        },
    );
    let line: serde_json::Value = serde_json::from_str(file.trim()).unwrap();
    assert_eq!((&line["n"], &line["domain"], &line["msg"]), (&2.into(), &"rabbitmq.queue".into(), &"said".into()));
}

#[test]
fn the_audit_log_says_who_from_where_and_what() {
    let (file, audit) = logged(
        |_| (),
        |_| {
            audit::at("10.0.0.1:5 -> 10.0.0.2:5672", || audit::change("joe", "queue.delete", "queue 'q' in vhost '/'"));
            audit::change("rmq-internal", "queue.delete", "queue 'r' in vhost '/'");
            audit::login_refused("eve", "10.0.0.3:1", "the password is wrong");
        },
    );
    let lines: Vec<serde_json::Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["user"], &lines[0]["from"]), (&"joe".into(), &"10.0.0.1:5 -> 10.0.0.2:5672".into()));
    assert_eq!((&lines[0]["action"], &lines[0]["what"]), (&"queue.delete".into(), &"queue 'q' in vhost '/'".into()));
    assert_eq!(lines[1]["from"], "", "the place of another's doing does not stay");
    assert_eq!((&lines[2]["result"], &lines[2]["user"]), (&"refused".into(), &"eve".into()));
    assert_eq!(file, "", "nothing of it in the log");
}

#[test]
fn entries_that_come_too_fast_are_counted() {
    let mut lost = 0;
    let (file, _) = logged(
        |_| (),
        |logs| {
            (0..50 * WAITING).for_each(|n| tracing::info!(target: "leveret", n, "{}", "x".repeat(500)));
            while logs.reopen().is_err() {}
            lost = logs.levels.losses.get(Output::All) as usize;
        },
    );
    let (written, told) = file.lines().fold((0, 0), |(written, told), line| match line.split_once("<default> ") {
        Some((_, text)) if text.contains("were dropped") => {
            (written, told + text.split(' ').next().unwrap().parse::<usize>().unwrap())
        }
        _ => (written + 1, told),
    });
    assert_eq!((written + told, told), (50 * WAITING, lost));
}

/// A disk that stalls: a pipe that nobody reads until the end.
#[test]
fn nobody_waits_for_an_audit_log_that_stalls_and_what_is_lost_is_told_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("audit");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    // Both ends at once: neither opening waits for the other.
    let mut reader = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let log = Log { console: false, audit: Some(pipe), dir: dir.path().into(), ..Log::default() };
    let (logs, collector) = set_up(&log).unwrap();
    let why = "x".repeat(4000);
    let attempts = 3 * audit_file::MOST_BYTES / why.len();
    let subscriber = tracing_subscriber::registry().with(collector);
    tracing::subscriber::with_default(subscriber, || {
        (0..attempts).for_each(|_| audit::login_refused("eve", "10.0.0.3:1", &why));
        tracing::info!(target: "leveret", "others go on");
    });
    // The log is another thread's.
    let lines = || logs.tail(100).join("\n");
    while !lines().contains("others go on") {
        std::thread::yield_now();
    }
    assert!(lines().contains("audit entries are being lost"), "{}", lines());
    assert!(matches!(logs.rotate(), Err(LogError::Busy)));

    let (mut written, mut missing) = (0, 0);
    for line in io::BufRead::lines(io::BufReader::new(&mut reader)) {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        match line["action"].as_str() {
            Some("audit.lost") => missing += line["count"].as_u64().unwrap() as usize,
            _ => written += 1,
        }
        if written + missing == attempts {
            break;
        }
    }
    assert!(missing > 0 && written > audit_file::MOST_BYTES / 2 / why.len(), "{written} written, {missing} missing");
    while !lines().contains("audit entries are lost") {
        std::thread::yield_now();
    }
    assert_eq!(logs.levels.losses.get(Output::Audit) as usize, missing);
}

#[test]
fn a_sink_can_want_less_than_the_others() {
    let (file, _) = logged(
        |log| log.file_level = Some(LogLevel::Error),
        |logs| {
            tracing::warn!(target: "leveret::queue", "not in the file");
            tracing::error!(target: "leveret::queue", "in the file");
            logs.flush();
            assert_eq!(logs.tail(10).len(), 2);
        },
    );
    assert!(file.lines().count() == 1 && file.ends_with("[error] <queue> in the file\n"), "{file}");
}
