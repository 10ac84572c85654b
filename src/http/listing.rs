//! Lists: filter by name, sort, page, choice of columns, as every list of RabbitMQ's HTTP API has them.
//!
//! A list's items are cheap handles; what is shown of one is looked up only for those on the page, and when the list is
//! sorted by something else than its usual order, for that column of each.

use std::cmp::Ordering;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;
use serde_json::{Value as Json, json};

use super::fields::{Columns, Fields, at};
use super::{Answer, ApiError, Call};
use crate::auth::Pattern;
use crate::http::call::Query;

const DEFAULT_PAGE_SIZE: usize = 100;
const MAX_PAGE_SIZE: usize = 500;
/// Items that are shown at once; a longer list goes out bit by bit.
const AT_ONCE: usize = 200;

/// A list's kind of items.
pub trait Listed {
    type Item;

    /// What `name=` is looked for in.
    fn name<'a>(&self, item: &'a Self::Item) -> &'a str;

    /// All that is shown of an item.
    fn fill(&self, item: &Self::Item, fields: &mut Fields<'_>);
}

/// What the query says about a list.
struct Wanted {
    columns: Columns,
    sort: Option<String>,
    reverse: bool,
    page: Option<Page>,
}

struct Page {
    number: usize,
    size: usize,
    filter: Option<Filter>,
}

enum Filter {
    /// In lower case.
    Contains(String),
    Matches(Pattern),
}

impl Filter {
    fn takes(&self, name: &str) -> bool {
        match self {
            Self::Contains(text) => name.to_lowercase().contains(text),
            Self::Matches(pattern) => pattern.matches(name),
        }
    }
}

impl Wanted {
    fn parse(query: &Query, columns: Columns) -> Result<Self, ApiError> {
        Ok(Self {
            columns,
            sort: query.get("sort").filter(|column| !column.is_empty()).map(str::to_owned),
            reverse: query.is_true("sort_reverse"),
            page: page(query)?,
        })
    }
}

/// RabbitMQ pages only when a page is named, and filters only what it pages.
fn page(query: &Query) -> Result<Option<Page>, ApiError> {
    let number = |name: &str| match query.get(name) {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| ApiError::bad_request("Pagination parameters are invalid")),
    };
    let (page, size): (Option<usize>, Option<usize>) = (number("page")?, number("page_size")?);
    let page = match (page, query.is_true("pagination")) {
        (Some(page), _) => page,
        (None, true) => 1,
        (None, false) => return Ok(None),
    };
    let size = size.unwrap_or(DEFAULT_PAGE_SIZE);
    if page == 0 || size == 0 || size > MAX_PAGE_SIZE {
        let text = format!("Invalid pagination parameters: page number {page}, page size {size}");
        return Err(ApiError::new(axum::http::StatusCode::BAD_REQUEST, "invalid_pagination_parameters", text));
    }
    let filter = match query.get("name").filter(|name| !name.is_empty()) {
        None => None,
        Some(name) if query.is_true("use_regex") => Some(Filter::Matches(pattern(name)?)),
        Some(name) => Some(Filter::Contains(name.to_lowercase())),
    };
    Ok(Some(Page { number: page, size, filter }))
}

fn pattern(name: &str) -> Result<Pattern, ApiError> {
    let invalid =
        |e: crate::auth::PatternError| ApiError::bad_request(format!("name is not a regular expression: {e}"));
    Pattern::new(&format!("(?i){name}")).map_err(invalid)
}

/// The answer that shows `items`, which come in the list's usual order.
///
/// # Errors
/// 400 for a query that cannot be understood, or a page that is not there.
pub fn answer<L>(call: &Call, list: L, items: Vec<L::Item>) -> Result<Answer, ApiError>
where
    L: Listed + Send + Unpin + 'static,
    L::Item: Send + Unpin + 'static,
{
    let wanted = Wanted::parse(&call.query, Columns::of(call))?;
    if wanted.page.is_some() || items.len() <= AT_ONCE {
        return Answer::json(&shown(wanted, &list, items)?);
    }
    let items = ordered(&wanted, &list, items).into_iter();
    let rows = Rows { list, items, columns: wanted.columns, has_begun: false };
    Ok(Answer::stream("application/json", Body::new(rows)))
}

/// The answer that shows one item.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn one<L: Listed>(call: &Call, list: &L, item: &L::Item) -> Result<Answer, ApiError> {
    Answer::json(&show(list, item, &Columns::of(call)))
}

fn ordered<L: Listed>(wanted: &Wanted, list: &L, mut items: Vec<L::Item>) -> Vec<L::Item> {
    if let Some(filter) = wanted.page.as_ref().and_then(|page| page.filter.as_ref()) {
        items.retain(|item| filter.takes(list.name(item)));
    }
    if let Some(column) = &wanted.sort {
        items = sorted(list, items, column);
    }
    if wanted.reverse {
        items.reverse();
    }
    items
}

fn shown<L: Listed>(wanted: Wanted, list: &L, items: Vec<L::Item>) -> Result<Json, ApiError> {
    let total = items.len();
    let items = ordered(&wanted, list, items);
    let show = |item: &L::Item| show(list, item, &wanted.columns);
    let Some(page) = &wanted.page else { return Ok(items.iter().map(show).collect()) };
    let filtered = items.len();
    let first = (page.number - 1).saturating_mul(page.size);
    if first > filtered {
        let text = format!("Page out of range, page: {} page size: {}, len: {filtered}", page.number, page.size);
        return Err(ApiError::new(axum::http::StatusCode::BAD_REQUEST, "page_out_of_range", text));
    }
    let on_page: Vec<_> = items.iter().skip(first).take(page.size).map(show).collect();
    Ok(json!({
        "total_count": total,
        "filtered_count": filtered,
        "item_count": on_page.len(),
        "page": page.number,
        "page_size": page.size,
        "page_count": filtered.div_ceil(page.size),
        "items": on_page,
    }))
}

fn show<L: Listed>(list: &L, item: &L::Item, columns: &Columns) -> Json {
    let mut fields = Fields::new(columns);
    list.fill(item, &mut fields);
    fields.finish()
}

/// A long list, made as fast as its reader takes it: only a bit of it is in memory.
struct Rows<L: Listed> {
    list: L,
    items: std::vec::IntoIter<L::Item>,
    columns: Columns,
    has_begun: bool,
}

impl<L> HttpBody for Rows<L>
where
    L: Listed + Unpin,
    L::Item: Unpin,
{
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let rows = self.get_mut();
        if rows.has_begun && rows.items.len() == 0 {
            return Poll::Ready(None);
        }
        let mut text = String::new();
        for item in rows.items.by_ref().take(AT_ONCE) {
            text.push(if rows.has_begun { ',' } else { '[' });
            rows.has_begun = true;
            text.push_str(&show(&rows.list, &item, &rows.columns).to_string());
        }
        if rows.items.len() == 0 {
            text.push(']');
        }
        Poll::Ready(Some(Ok(Frame::data(text.into()))))
    }
}

/// Sorted by a column; what is alike stays in the usual order.
fn sorted<L: Listed>(list: &L, items: Vec<L::Item>, column: &str) -> Vec<L::Item> {
    let columns = Columns::one(column);
    let key = |item: &L::Item| at(&show(list, item, &columns), column).cloned().unwrap_or(Json::Null);
    let mut keyed: Vec<_> = items.into_iter().map(|item| (key(&item), item)).collect();
    keyed.sort_by(|(a, _), (b, _)| compare(a, b));
    keyed.into_iter().map(|(_, item)| item).collect()
}

/// Erlang's order as far as JSON has it: numbers before words before lists; what is missing counts as 0.
fn compare(a: &Json, b: &Json) -> Ordering {
    let rank = |value: &Json| match value {
        Json::Null | Json::Number(_) => 0,
        Json::Bool(_) => 1,
        Json::Object(_) => 2,
        Json::Array(_) => 3,
        Json::String(_) => 4,
    };
    match (a, b) {
        (Json::String(a), Json::String(b)) => a.cmp(b),
        (Json::Bool(a), Json::Bool(b)) => a.cmp(b),
        _ if rank(a) == 0 && rank(b) == 0 => {
            let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
            a.total_cmp(&b)
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

#[cfg(test)]
mod tests;
