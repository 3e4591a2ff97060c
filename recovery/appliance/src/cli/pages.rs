//! Lists as long as they are, page by page, and lists that are watched: what is new is printed as it comes.
//!
//! A list goes on behind its first page by the `Link` of each answer (RFC 8288), up to the limit that was asked for. Where there is more, stderr
//! says so. Watching is asking again whenever the appliance says that something changed; it ends when who watches ends it.

use std::{collections::BTreeMap, io::Write as _};

use clap::Args;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    client::Client,
    fault::{Code, Fault},
    output::Output,
};

/// Entries that a list shows without a limit of its own.
const USUAL: usize = 500;
/// Entries on a page, at most.
const PAGE_MOST: usize = 500;

/// How much of a list, and whether it is watched.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Much {
    /// So many at most; default: 500
    #[arg(long, value_name = "COUNT", conflicts_with = "all")]
    pub limit: Option<usize>,
    /// All of them, however many
    #[arg(long)]
    pub all: bool,
}

/// Whether a list is watched.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Watch {
    /// Go on: print what is new or differs, as it comes; with `-o json` a line each
    #[arg(long)]
    pub watch: bool,
}

impl Much {
    fn most(self) -> usize {
        if self.all { usize::MAX } else { self.limit.unwrap_or(USUAL) }
    }
}

/// A list up to its limit; stderr is told where there is more.
///
/// # Errors
/// What [`Client`] refuses.
pub fn list<T: DeserializeOwned>(client: &Client, path: &str, much: Much) -> Result<Vec<T>, Fault> {
    list_by(client, path, much.most(), PAGE_MOST)
}

fn list_by<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    most: usize,
    page: usize,
) -> Result<Vec<T>, Fault> {
    if most == 0 {
        return Err(Fault::new(
            Code::Usage,
            "a list of none was asked for",
            "",
            "give --limit 1 or more, or --all",
        ));
    }
    let sign = if path.contains('?') { '&' } else { '?' };
    let mut next = Some(format!("{path}{sign}limit={}", most.min(page)));
    let mut all = Vec::new();
    while let Some(page) = next.take_if(|_| all.len() < most) {
        let (items, more): (Vec<T>, Option<String>) = client.page(&page)?;
        all.extend(items);
        next = more;
        if next.as_deref() == Some(page.as_str()) {
            break;
        }
    }
    if next.is_some() || all.len() > most {
        all.truncate(most);
        eprintln!(
            "there are more than these {}: `--limit {}` shows more, `--all` all",
            all.len(),
            most.saturating_mul(4)
        );
    }
    Ok(all)
}

/// What there is, then what is new or differs whenever the appliance says that something changed. Ends with who watches, or an error.
///
/// # Errors
/// Usage for a form that has no lines; what [`Client`] refuses; unavailable when the appliance stays away.
pub fn watch<T: Serialize>(
    client: &Client,
    output: Output,
    name: &str,
    ask: impl Fn() -> Result<Vec<T>, Fault>,
    table: impl Fn(&[T]) -> String,
) -> Result<(), Fault> {
    if !matches!(output, Output::Table | Output::Json) {
        let now = "watch with `-o json` (a line each) or as a table";
        return Err(Fault::new(Code::Usage, "this form has no lines to go on with", "", now));
    }
    let mut seen = Seen::default();
    let mut failed = None;
    let mut look = || match ask().and_then(|views| seen.say(output, name, &views, &table)) {
        Ok(()) => true,
        Err(fault) if fault.code == Code::Unavailable => true,
        Err(fault) => {
            failed = Some(fault);
            false
        }
    };
    client.changes(&mut look)?;
    failed.map_or(Ok(()), Err)
}

/// What was printed of each thing last, by its name.
#[derive(Default)]
struct Seen(BTreeMap<String, Value>);

impl Seen {
    fn say<T: Serialize>(
        &mut self,
        output: Output,
        name: &str,
        views: &[T],
        table: &impl Fn(&[T]) -> String,
    ) -> Result<(), Fault> {
        let first = self.0.is_empty();
        let mut news = Vec::new();
        for view in views {
            let tree =
                serde_json::to_value(view).map_err(|error| Fault::of("it cannot be printed", &error, ""))?;
            // A stranger has no name yet, and is known by its addresses.
            let name = tree.get(name).filter(|name| !name.is_null()).or_else(|| tree.get("macs"));
            let name = name.map(Value::to_string).unwrap_or_default();
            if self.0.get(&name) != Some(&tree) {
                news.push(view);
                self.0.insert(name, tree);
            }
        }
        match output {
            Output::Json => {
                let mut out = std::io::stdout().lock();
                for view in news {
                    let line = serde_json::to_string(view).unwrap_or_default();
                    // Who reads no more ends it.
                    writeln!(out, "{line}").map_err(|error| Fault::of("nobody reads", &error, ""))?;
                }
            }
            _ if first => println!("{}", table(views)),
            _ => {
                let whole = table(views);
                let lines: Vec<&str> = whole.lines().collect();
                // A table has a line of heads, then one for each.
                let changed = views
                    .iter()
                    .enumerate()
                    .filter(|(_, view)| news.iter().any(|new| std::ptr::eq(*new, *view)));
                for (at, _) in changed {
                    println!("{}", lines.get(at + 1).unwrap_or(&""));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use recovery_protocol::{history::EntryView, operator::EndpointView};

    use super::*;
    use crate::cli::by_hand::Desk;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_list_goes_on_behind_its_first_page_up_to_its_limit() {
        let desk = Desk::new("").await;
        for n in 1..=7 {
            desk.bench
                .add(&format!("press-0{n}"), &format!("02:00:00:00:00:0{n}"), serde_json::json!({}))
                .await;
        }
        let reach = desk.reach();
        let ask = move || {
            let client = reach.client()?;
            let path = "/api/v1/evidence/entries?kind=order.endpoint";
            let few = list_by::<EntryView>(&client, path, 5, 2)?;
            let all = list_by::<EntryView>(&client, path, usize::MAX, 2)?;
            let once = list_by::<EntryView>(&client, path, usize::MAX, PAGE_MOST)?;
            Ok::<_, Fault>((few.len(), all, once))
        };
        let (few, all, once) = tokio::task::spawn_blocking(ask).await.unwrap().unwrap();
        assert_eq!((few, all.len()), (5, 7));
        assert_eq!(all, once, "page by page it is the same list");
        assert_eq!(desk.says("evidence list --limit 2").await, 0);
        assert_eq!(desk.says("evidence list --all").await, 0);
        assert_eq!(desk.says("evidence list --all --limit 2").await, Code::Usage as u8);
        assert_eq!(desk.says("job list --limit 0").await, Code::Usage as u8);
        assert_eq!(desk.says("job list --watch -o csv").await, Code::Usage as u8, "no lines to go on with");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_watches_hears_of_what_changed() {
        let desk = Desk::new("").await;
        let reach = desk.reach();
        let (looked, mut looks) = tokio::sync::mpsc::unbounded_channel();
        let watching = tokio::task::spawn_blocking(move || {
            let client = reach.client()?;
            let mut counts = Vec::new();
            client.changes(&mut || {
                let views: Vec<EndpointView> = client.get("/api/v1/endpoints").unwrap();
                counts.push(views.len());
                looked.send(()).unwrap();
                views.is_empty()
            })?;
            Ok::<_, Fault>(counts)
        });
        looks.recv().await.unwrap();
        desk.bench.add("press-01", "02:00:00:00:00:01", serde_json::json!({})).await;
        let counts = watching.await.unwrap().unwrap();
        assert_eq!((counts[0], counts.last()), (0, Some(&1)));
    }

    #[test]
    fn what_differs_is_printed_once() {
        let table = |views: &[Value]| format!("HEAD\n{}", views.len());
        let mut seen = Seen::default();
        let views = [
            serde_json::json!({ "job": "a", "n": 1 }),
            serde_json::json!({ "endpoint": null, "macs": ["x"] }),
        ];
        seen.say(Output::Json, "job", &views, &table).unwrap();
        assert_eq!(seen.0.len(), 2);
        let views = [serde_json::json!({ "job": "a", "n": 2 })];
        seen.say(Output::Table, "job", &views, &table).unwrap();
        assert_eq!(seen.0["\"a\""]["n"], 2);
    }
}
