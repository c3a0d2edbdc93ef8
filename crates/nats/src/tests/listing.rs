//! Lists of consumers, as one server and as a cluster gives them.

use serde_json::{Value, json};

use super::fake_server::{Asked, FakeServer};
use crate::{Role, TransportError};

/// The next page that is asked for, and its offset.
async fn asked(server: &FakeServer) -> (Asked, u64) {
    let asked = server.asked().await;
    assert_eq!(asked.subject, "$JS.API.CONSUMER.LIST.S");
    let body: Value = serde_json::from_str(&asked.payload).unwrap();
    (asked, body["offset"].as_u64().unwrap())
}

fn page(total: u64, names: &[&str]) -> Value {
    let consumers: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    json!({ "total": total, "offset": 0, "limit": 256, "consumers": consumers })
}

#[tokio::test]
async fn all_pages_are_read_and_none_more() {
    let (server, transport) = FakeServer::start().await;
    let view = transport.connection(Role::Work).stream("S").unwrap();
    let script = async {
        for (offset, names) in [(0, &["a", "b"][..]), (2, &["c"])] {
            let (page_asked, at) = asked(&server).await;
            assert_eq!(at, offset);
            page_asked.answer(page(3, names)).await;
        }
        // A cluster tells no total of a page that is empty.
        asked(&server).await.0.answer(page(0, &[])).await;
    };
    let lists = async {
        let names = view.consumers(10).await.unwrap();
        let names: Vec<&str> = names
            .iter()
            .map(|consumer| consumer.name.as_str())
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(view.consumers(10).await, Ok(Vec::new()));
    };
    tokio::join!(script, lists);
}

#[tokio::test]
async fn a_list_that_lacks_a_consumer_is_none() {
    let (server, transport) = FakeServer::start().await;
    let view = transport.connection(Role::Work).stream("S").unwrap();
    let script = async {
        let mut answer = page(2, &["a"]);
        answer["missing"] = json!(["b"]);
        asked(&server).await.0.answer(answer).await;
    };
    let ((), listed) = tokio::join!(script, view.consumers(10));
    let Err(TransportError::Unavailable(text)) = listed else {
        panic!("{listed:?}")
    };
    assert!(text.contains("b did not answer"), "{text}");
}
