use super::*;

/// Names with numbers.
struct Numbers;

impl Listed for Numbers {
    type Item = (&'static str, i64);

    fn name<'a>(&self, item: &'a Self::Item) -> &'a str {
        item.0
    }

    fn fill(&self, item: &Self::Item, fields: &mut Fields<'_>) {
        fields.put("name", || item.0);
        fields.put("in", || json!({ "n": item.1 }));
    }
}

fn list(query: &str) -> Result<Json, ApiError> {
    let items = vec![("anna", 3), ("Bert", 1), ("carl", 2), ("dora", 1)];
    let query = Query::parse(query).unwrap();
    let columns = Columns::parse(query.get("columns"));
    shown(Wanted::parse(&query, columns)?, &Numbers, items)
}

fn names(list: &Json) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn without_a_page_there_is_a_plain_list() {
    assert_eq!(names(&list("name=a&page_size=2").unwrap()), ["anna", "Bert", "carl", "dora"]);
    assert_eq!(names(&list("sort=in.n&columns=name").unwrap()), ["Bert", "dora", "carl", "anna"]);
    assert_eq!(names(&list("sort=in.n&sort_reverse=true").unwrap()), ["anna", "carl", "dora", "Bert"]);
    assert_eq!(list("columns=in.n").unwrap()[0], json!({ "in": { "n": 3 } }));
}

#[test]
fn a_page_says_where_it_stands() {
    let page = list("page=2&page_size=2&name=A&columns=name").unwrap();
    let expected = json!({
        "total_count": 4, "filtered_count": 3, "item_count": 1, "page": 2, "page_size": 2, "page_count": 2,
        "items": [{ "name": "dora" }],
    });
    assert_eq!(page, expected);
    let page = list("pagination=true&name=^b.*t$&use_regex=true").unwrap();
    assert_eq!(names(&page["items"]), ["Bert"]);
    assert_eq!(page["page_size"], 100);
    let page = list("page=1&name=bER").unwrap();
    assert_eq!(names(&page["items"]), ["Bert"], "capitals make no difference");
}

#[test]
fn bad_queries_are_named() {
    for query in
        ["page=x", "page=0", "page=1&page_size=501", "page=1&page_size=0", "page=9", "page=1&use_regex=true&name=("]
    {
        let error = list(query).unwrap_err();
        assert_eq!(error.status, 400, "{query}");
    }
    assert_eq!(list("page=9").unwrap_err().error, "page_out_of_range");
}

#[tokio::test]
async fn a_long_list_comes_in_bits() {
    use http_body_util::BodyExt as _;
    let items: Vec<_> = (0..1000).map(|n| ("x", n)).collect();
    let columns = Columns::one("in");
    let rows = Rows { list: Numbers, items: items.into_iter(), columns, has_begun: false };
    let mut body = Body::new(rows);
    let (mut text, mut bits) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        text.extend_from_slice(&frame.unwrap().into_data().unwrap());
        bits += 1;
    }
    let list: Json = serde_json::from_slice(&text).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1000);
    assert_eq!(list[999], json!({ "in": { "n": 999 } }));
    assert_eq!(bits, 5);
}
