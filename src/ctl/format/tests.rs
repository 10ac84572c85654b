use serde_json::json;

use super::*;
use crate::ctl::term::Kind;

fn written(form: Form, headers: bool, rows: &[[Json; 2]]) -> String {
    let mut out = Vec::new();
    let mut writer = Rows::new(&mut out, form, headers, vec!["user", "tags"]);
    for [user, tags] in rows {
        writer.row(&[Term::read(user, Kind::Plain), Term::read(tags, Kind::Atoms)]).unwrap();
    }
    writer.finish().unwrap();
    String::from_utf8(out).unwrap()
}

fn two() -> [[Json; 2]; 2] {
    [[json!("guest"), json!(["administrator"])], [json!("a\"b"), json!([])]]
}

#[test]
fn lists_are_as_rabbitmqctl_writes_them() {
    assert_eq!(written(Form::Table, true, &two()), "user\ttags\nguest\t[administrator]\na\"b\t[]\n");
    assert_eq!(written(Form::Table, false, &two()), "guest\t[administrator]\na\"b\t[]\n");
    let csv = "\"user\",\"tags\"\n\"guest\",\"[administrator]\"\n\"a\"\"b\",\"[]\"\n";
    assert_eq!(written(Form::Csv, true, &two()), csv);
    let erlang = "[[{user,<<\"guest\">>},{tags,[administrator]}],\n [{user,<<\"a\\\"b\">>},{tags,[]}]]\n";
    assert_eq!(written(Form::Erlang, true, &two()), erlang);
    let text = written(Form::Json, true, &two());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines[0], lines[3]), ("[", "]"));
    assert_eq!(serde_json::from_str::<Json>(lines[1]).unwrap(), json!({ "user": "guest", "tags": ["administrator"] }));
    let all: Json = serde_json::from_str(&text).unwrap();
    assert_eq!(all[1]["user"], "a\"b");
}

#[test]
fn empty_lists_have_no_headers() {
    assert_eq!(written(Form::Table, true, &[]), "");
    assert_eq!(written(Form::Csv, true, &[]), "");
    assert_eq!(written(Form::Json, true, &[]), "[\n]\n");
    assert_eq!(written(Form::Erlang, true, &[]), "[]\n");
}

#[test]
fn pretty_tables_have_borders_as_wide_as_their_cells() {
    let expected = "\
┌───────┬─────────────────┐
│ user  │ tags            │
├───────┼─────────────────┤
│ guest │ [administrator] │
├───────┼─────────────────┤
│ a\"b   │ []              │
└───────┴─────────────────┘
";
    assert_eq!(written(Form::Pretty, true, &two()), expected);
}

#[test]
fn long_pretty_tables_are_written_as_they_come() {
    let rows: Vec<[Json; 2]> = (0..2500).map(|n| [json!(format!("u{n}")), json!([])]).collect();
    let text = written(Form::Pretty, true, &rows);
    assert_eq!(text.lines().count(), 2 * 2500 + 3);
    assert!(text.contains("│ u2499 │"));
}
