use super::super::ListenAddress;
use super::*;

fn from(variables: &[(&str, &str)]) -> Sources {
    let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Sources::new(&[], find)
}

fn texts(errors: &ConfigErrors) -> Vec<String> {
    errors.0.iter().map(ToString::to_string).collect()
}

#[test]
fn directories_are_read_in_the_order_of_names_and_later_files_win() {
    let dir = tempfile::tempdir().unwrap();
    let main = dir.path().join("rabbit.conf");
    let more = dir.path().join("conf.d");
    std::fs::create_dir(&more).unwrap();
    std::fs::write(&main, "heartbeat = 1\nchannel_max = 1\n").unwrap();
    std::fs::write(more.join("20-b.conf"), "heartbeat = 3\n").unwrap();
    std::fs::write(more.join("10-a.conf"), "heartbeat = 2\nframe_max = 5000\n").unwrap();
    std::fs::write(more.join("notes.txt"), "nonsense\n").unwrap();
    std::fs::write(more.join(".hidden.conf"), "nonsense\n").unwrap();
    for conf_d in [more.clone(), more.join("*.conf")] {
        let config = Sources { files: vec![main.clone(), conf_d], ..Sources::default() }.load().unwrap();
        let limits = &config.limits;
        assert_eq!((limits.heartbeat, limits.frame_max, limits.channel_max), (3, 5000, 1));
        let shown = config.effective();
        let heartbeat = shown.iter().find(|entry| entry.key == "heartbeat").unwrap();
        assert!(heartbeat.origin.as_ref().unwrap().to_string().ends_with("20-b.conf:1"));
    }
}

#[test]
fn problems_of_all_files_come_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("1.conf"), b"heartbeat = 1\ndefault_user = \xff\n\nheartbeat = x\n").unwrap();
    std::fs::write(dir.path().join("2.conf"), "nonsense = 1\n").unwrap();
    let missing = dir.path().join("missing.conf");
    let sources = Sources { files: vec![dir.path().to_owned(), missing], ..Sources::default() };
    let texts = texts(&sources.load().unwrap_err());
    assert!(texts[0].ends_with("1.conf:2: default_user: byte 16 of the line is not UTF-8"), "{texts:?}");
    assert!(texts[1].contains("missing.conf: cannot be read: "), "{texts:?}");
    assert!(texts[2].ends_with("1.conf:4: heartbeat = x: expected a whole number from 0 to 65535"), "{texts:?}");
    assert!(texts[3].contains("2.conf:1: unknown key nonsense"), "{texts:?}");
}

#[test]
fn the_environment_wins_over_files_and_the_command_line_over_both() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rabbit.conf");
    std::fs::write(&file, "default_user = file\ndefault_pass = file\nlisteners.tcp.default = 1\n").unwrap();
    let without_extension = dir.path().join("rabbit").display().to_string();
    let mut sources = from(&[
        ("RABBITMQ_CONFIG_FILE", &without_extension),
        ("RABBITMQ_DEFAULT_USER", "rabbit"),
        ("RABBITMQ_DEFAULT_PASS", "rabbit"),
        ("LEVERET_DEFAULT_PASS", "leveret"),
        ("RABBITMQ_DEFAULT_VHOST", ""),
        ("RABBITMQ_NODENAME", "rabbit@one"),
        ("RABBITMQ_NODE_PORT", "5673"),
        ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1"),
        ("RABBITMQ_LOGS", "/var/log/l.log"),
        ("LEVERET_DATA_DIR", "/d"),
    ]);
    sources.set("default_user", "line");
    let config = sources.load().unwrap();
    let defaults = &config.defaults;
    assert_eq!((&*defaults.user, defaults.pass.reveal(), &*defaults.vhost), ("line", "leveret", "/"));
    assert_eq!(config.identity.node_name.as_deref(), Some("rabbit@one"));
    assert_eq!(config.tcp.listeners[0].address, ListenAddress::Socket("127.0.0.1:5673".parse().unwrap()));
    assert_eq!(config.log.file.as_deref(), Some(Path::new("/var/log/l.log")));
    assert_eq!(config.data_dir, Path::new("/d"));
    let wrong = from(&[("RABBITMQ_NODE_PORT", "x")]).load().unwrap_err().to_string();
    assert!(wrong.starts_with("RABBITMQ_NODE_PORT: listeners.tcp.default = x: expected a port"), "{wrong}");
}

#[test]
fn a_file_that_is_far_too_large_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("big.conf");
    std::fs::File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
    let error = Sources { files: vec![path], ..Sources::default() }.load().unwrap_err().to_string();
    assert!(error.contains("a configuration has at most"), "{error}");
}
