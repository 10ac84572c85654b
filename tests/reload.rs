//! The configuration is read again while a broker runs.

#![allow(clippy::expect_used)]

use std::fs;
use std::path::Path;

use leveret::config::Sources;
use leveret::node::Node;

/// A broker with that configuration file.
async fn start(dir: &Path, file: &Path) -> Node {
    let mut sources = Sources { files: vec![file.to_owned()], ..Sources::default() };
    for (key, value) in
        [("listeners.tcp.default", "127.0.0.1:0"), ("management.tcp", "none"), ("prometheus.tcp", "none")]
    {
        sources.set(key, value);
    }
    sources.set("data_dir", dir.join("data").to_str().expect("a path in UTF-8"));
    Node::start(sources.load().expect("it is valid")).await.expect("it starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_watermarks_are_taken_over_and_the_rest_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("rabbit.conf");
    let write = |text: &str| fs::write(&file, text).expect("the file can be written");
    write("max_message_size = 1000\nvm_memory_high_watermark.absolute = 100MiB\ndisk_free_limit.absolute = 1MB\n");
    let node = start(dir.path(), &file).await;
    let broker = node.broker();
    let disk_limit = || broker.store.as_ref().expect("it has a store").disk_limit();
    assert_eq!((broker.max_message_size(), broker.memory.limit(), disk_limit()), (1000, 100 << 20, 1_000_000));

    write(
        "max_message_size = 2000\nvm_memory_high_watermark.absolute = 200MiB\ndisk_free_limit.absolute = 2MB\n\
         default_user = other\n",
    );
    let reloaded = broker.reload().expect("it is valid");
    let expected = ["disk_free_limit.absolute", "max_message_size", "vm_memory_high_watermark.absolute"];
    assert_eq!(reloaded.changes.applied, expected);
    assert_eq!(reloaded.changes.at_restart, ["default_user"]);
    assert_eq!((broker.max_message_size(), broker.memory.limit(), disk_limit()), (2000, 200 << 20, 2_000_000));
    assert_eq!(broker.limits().max_message_size, 2000);

    // What an operator has set stays where the file says nothing new.
    broker.memory.set_limit(1 << 20);
    assert_eq!(broker.reload().expect("it is valid").changes.applied, [""; 0]);
    assert_eq!(broker.memory.limit(), 1 << 20);

    write("max_message_size = 3000\nheartbeat = x\n");
    let errors = broker.reload().expect_err("it is not valid").to_string();
    assert!(errors.contains("rabbit.conf:2: heartbeat = x: expected a whole number"), "{errors}");
    assert_eq!(broker.max_message_size(), 2000, "nothing of it");

    broker.on_reload(|_, _| Err("the certificate cannot be read".to_owned()));
    write("max_message_size = 3000\n");
    assert_eq!(broker.reload().expect("it is valid").failures, ["the certificate cannot be read"]);
    node.stop().await;
}
