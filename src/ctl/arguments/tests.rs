use super::*;

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

fn good(line: &[&str]) -> Parsed {
    match parse(Tool::Ctl, &words(line)) {
        Asked::Command(parsed) => parsed,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn wrong(line: &[&str]) -> (u8, String) {
    match parse(Tool::Ctl, &words(line)) {
        Asked::Wrong(_, _, failure) => (failure.code, failure.text),
        other => panic!("{line:?}: {other:?}"),
    }
}

#[test]
fn options_stand_anywhere() {
    for line in [
        ["-p", "v1", "set_permissions", "ann", "^a", ".*", ""],
        ["set_permissions", "-p", "v1", "ann", "^a", ".*", ""],
        ["set_permissions", "ann", "^a", ".*", "", "--vhost", "v1"],
    ] {
        let parsed = good(&line);
        assert_eq!(parsed.command.name, "set_permissions");
        assert_eq!(parsed.arguments, ["ann", "^a", ".*", ""]);
        assert_eq!(parsed.option("vhost"), Some("v1"));
    }
}

#[test]
fn options_have_several_spellings() {
    let parsed = good(&["set_policy", "--apply-to=queues", "p", "^q", "{}", "--priority", "3", "-q"]);
    assert_eq!((parsed.option("apply-to"), parsed.option("priority")), (Some("queues"), Some("3")));
    assert!(parsed.has("quiet") && !parsed.has("silent"));
    assert!(good(&["list_queues", "--no_table_headers"]).has("no-table-headers"));
    assert!(good(&["-n", "rabbit@here", "-t", "5", "--longnames", "delete_queue", "q", "-e"]).has("if-empty"));
}

#[test]
fn short_options_may_stand_together() {
    for line in [&["-qs", "list_queues"][..], &["list_queues", "-sq"], &["-sqt", "5", "list_queues", "name"]] {
        let parsed = good(line);
        assert!(parsed.command.name == "list_queues" && parsed.has("quiet") && parsed.has("silent"), "{line:?}");
    }
    assert_eq!(good(&["-sqt", "5", "list_queues"]).option("timeout"), Some("5"));
    assert_eq!(wrong(&["list_queues", "-qz"]).0, 64);
    assert_eq!(wrong(&["list_queues", "-tq"]).0, 64, "only the last one may take a value");
    assert_eq!(good(&["delete_queue", "--", "-qs"]).arguments, ["-qs"]);
}

#[test]
fn the_version_needs_no_command() {
    let asked = |tool, word: &str| parse(tool, &words(&[word]));
    assert!(matches!(asked(Tool::Ctl, "--version"), Asked::Version(Tool::Ctl)));
    assert!(matches!(asked(Tool::Leveret, "-V"), Asked::Version(Tool::Leveret)));
    assert_eq!((Tool::Ctl.version(), Tool::Leveret.version()), ("3.13.7", env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_follows_two_dashes_are_arguments() {
    assert_eq!(good(&["delete_queue", "--", "--if-empty"]).arguments, ["--if-empty"]);
    assert_eq!(good(&["export_definitions", "-"]).arguments, ["-"]);
    assert_eq!(good(&["set_disk_free_limit", "-1"]).arguments, ["-1"]);
}

#[test]
fn calls_that_are_wrong_are_told_as_rabbitmq_tells_them() {
    let start = "Error (argument validation): ";
    assert_eq!(wrong(&["set_permissions", "ann", "^a"]), (64, format!("{start}not enough arguments.")));
    assert_eq!(wrong(&["delete_vhost", "a", "b"]), (64, format!("{start}too many arguments.")));
    let bogus = format!("{start}Info key(s) bogus,foo are not supported");
    assert_eq!(wrong(&["list_queues", "name", "bogus", "foo"]), (64, bogus));
    let invalid = format!("{start}Invalid options for this command:\n--bogus : ");
    assert_eq!(wrong(&["list_queues", "--bogus"]), (64, invalid));
    let number = format!("{start}Invalid options for this command:\n--priority : abc");
    assert_eq!(wrong(&["set_policy", "p", "^a", "{}", "--priority", "abc"]), (64, number));
    assert_eq!(wrong(&["list_queues", "--timeout"]).0, 64);
}

#[test]
fn columns_may_be_separated_by_commas() {
    assert_eq!(good(&["list_queues", "name,messages", "consumers"]).arguments, ["name,messages", "consumers"]);
}

#[test]
fn help_and_unknown_commands() {
    assert!(matches!(parse(Tool::Ctl, &words(&["--help"])), Asked::Help(_, None)));
    assert!(matches!(parse(Tool::Ctl, &words(&["list_users", "--help"])), Asked::Help(_, Some(_))));
    assert!(matches!(parse(Tool::Ctl, &[]), Asked::Nothing(_)));
    assert!(matches!(parse(Tool::Ctl, &words(&["list_quues"])), Asked::Unknown(_, name) if name == "list_quues"));
}

#[test]
fn each_tool_has_its_commands() {
    let knows = |tool, name: &str| matches!(parse(tool, &words(&[name])), Asked::Command(_));
    assert!(knows(Tool::Diagnostics, "check_running") && !knows(Tool::Ctl, "check_running"));
    assert!(knows(Tool::Upgrade, "drain") && !knows(Tool::Queues, "drain"));
    assert!(knows(Tool::Plugins, "list") && knows(Tool::Leveret, "list") && knows(Tool::Leveret, "drain"));
    let named = words(&["--script-name", "rabbitmq-plugins", "list"]);
    assert!(matches!(parse(Tool::Ctl, &named), Asked::Command(parsed) if parsed.tool == Tool::Plugins));
}
