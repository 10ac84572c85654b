use super::*;

/// What operators and client test suites call.
const NEEDED: &[(Tool, &str)] = &[
    (
        Tool::Ctl,
        "status cluster_status list_queues list_exchanges list_bindings list_connections list_channels list_consumers \
         list_users list_vhosts list_permissions list_policies list_parameters list_global_parameters list_feature_flags \
         list_deprecated_features list_unresponsive_queues list_user_limits list_vhost_limits list_topic_permissions \
         list_operator_policies list_user_permissions list_user_topic_permissions add_user delete_user change_password \
         clear_password set_user_tags authenticate_user add_vhost delete_vhost restart_vhost set_permissions \
         clear_permissions set_topic_permissions clear_topic_permissions set_policy clear_policy set_operator_policy \
         clear_operator_policy set_parameter clear_parameter set_global_parameter clear_global_parameter set_vhost_limits \
         clear_vhost_limits set_user_limits clear_user_limits join_cluster forget_cluster_node stop_app start_app reset \
         force_reset stop shutdown await_startup await_online_nodes rotate_logs set_log_level set_vm_memory_high_watermark \
         set_disk_free_limit purge_queue delete_queue close_connection close_all_connections close_all_user_connections \
         import_definitions export_definitions enable_feature_flag set_cluster_name encode decode eval trace_on trace_off \
         hash_password environment report version help",
    ),
    (
        Tool::Diagnostics,
        "check_running check_local_alarms check_alarms check_port_connectivity check_port_listener check_protocol_listener \
         check_virtual_hosts check_certificate_expiration check_if_node_is_quorum_critical listeners memory_breakdown \
         observer status server_version ping log_tail log_tail_stream runtime_thread_stats environment is_running alarms",
    ),
    (Tool::Queues, "quorum_status add_member delete_member grow shrink rebalance peek transfer_leadership"),
    (Tool::Upgrade, "drain revive await_online_quorum_plus_one post_upgrade"),
    (Tool::Plugins, "list enable disable set is_enabled directories"),
    (
        Tool::Leveret,
        "peek_messages move_messages purge_messages list_delayed cancel_delayed explain_policy explain_route definitions \
         config log_tail",
    ),
];

#[test]
fn all_commands_that_are_needed_are_there() {
    for (tool, names) in NEEDED {
        for name in names.split_whitespace() {
            assert!(find(*tool, name).is_some(), "{} {name}", tool.name());
        }
    }
}

#[test]
fn a_name_stands_once_for_a_tool() {
    for tool in Tool::ALL {
        let mut names: Vec<&str> = of_tool(tool).map(|command| command.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{}", tool.name());
    }
}

#[test]
fn every_row_is_whole() {
    for command in GROUPS.iter().flat_map(|group| group.commands) {
        let name = command.name;
        assert!(!command.help.is_empty() && !command.help.ends_with('.'), "{name}");
        assert!(command.least <= command.most, "{name}");
        assert_eq!(command.most == 0, command.arguments.is_empty(), "{name}");
        assert!(command.columns.iter().all(|column| !column.field.is_empty()), "{name}");
    }
}

#[test]
fn the_nearest_name_is_suggested() {
    assert_eq!(nearest(Tool::Ctl, "list_quues").unwrap().name, "list_queues");
    assert_eq!(nearest(Tool::Ctl, "add_usr").unwrap().name, "add_user");
    assert!(nearest(Tool::Ctl, "xyzzy").is_none());
}

/// `cargo test --lib write_the_page_of_commands -- --ignored` writes it.
#[test]
#[ignore = "writes docs/ctl.md"]
fn write_the_page_of_commands() {
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ctl.md"), crate::ctl::help::page()).unwrap();
}

#[test]
fn the_page_of_commands_is_that_of_the_table() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ctl.md")).unwrap();
    assert!(page == crate::ctl::help::page(), "run: cargo test --lib write_the_page_of_commands -- --ignored");
}
